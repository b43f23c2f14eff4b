// page.mjs URL PROFILE: shows the page in headless Chromium and says on standard output what stands on it,
// a line of JSON each time that changes. Ends when it is killed, and the browser with it. What the browser
// complains about (a script's error, a thing that the page's policy forbids) is a line "complaint: ...".
import { spawn } from "node:child_process";

const [url, profile, width = "1280"] = process.argv.slice(2);
const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
	"--disable-component-update", "--disable-sync", "--disable-quic", "--no-first-run",
	"--disable-dev-shm-usage", `--user-data-dir=${profile}`, `--window-size=${width},900`,
	"--remote-debugging-pipe", "about:blank"];
const browser = spawn("chromium", flags, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
browser.on("exit", code => process.exit(code ?? 1));
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"])
	process.on(signal, () => browser.kill("SIGTERM"));

// The DevTools protocol over two pipes: messages of JSON, each with a zero byte behind it.
const waiting = new Map();
let last = 0, rest = "";
function call(method, params = {}, sessionId) {
	browser.stdio[3].write(JSON.stringify({ id: ++last, method, params, sessionId }) + "\0");
	return new Promise((resolve, reject) => waiting.set(last, { resolve, reject }));
}
function hear(m) {
	if (m.id) {
		const { resolve, reject } = waiting.get(m.id);
		waiting.delete(m.id);
		if (m.error) reject(new Error(m.error.message));
		else resolve(m.result);
	} else if (m.method === "Runtime.exceptionThrown") {
		console.log("complaint: " + JSON.stringify(m.params.exceptionDetails));
	} else if (m.method === "Log.entryAdded") {
		console.log("complaint: " + m.params.entry.text);
	}
}
browser.stdio[4].on("data", data => {
	const pieces = (rest + data).split("\0");
	rest = pieces.pop();
	pieces.forEach(p => hear(JSON.parse(p)));
});

const look = `JSON.stringify({
	running: [...document.querySelectorAll("#running li:not(.none)")].map(li => ({
		statement: li.querySelector("code").textContent,
		phase: li.querySelector(".phase").textContent,
		percent: li.querySelector(".track").getAttribute("aria-valuenow"),
		width: li.querySelector(".fill").style.width,
		waits: li.querySelector(".waits").textContent })),
	owed: [...document.querySelectorAll("#owed code")].map(e => e.textContent),
	recent: [...document.querySelectorAll("#recent li:not(.none)")].map(li => ({
		statement: li.querySelector("code").textContent,
		outcome: li.querySelector(".done, .failed").textContent })),
	trouble: document.getElementById("trouble").textContent,
	overflows: document.documentElement.scrollWidth > innerWidth })`;

const { targetId } = await call("Target.createTarget", { url: "about:blank" });
const { sessionId } = await call("Target.attachToTarget", { targetId, flatten: true });
for (const domain of ["Runtime", "Log", "Page"])
	await call(domain + ".enable", {}, sessionId);
await call("Emulation.setDeviceMetricsOverride",
	{ width: Number(width), height: 900, deviceScaleFactor: 1, mobile: false }, sessionId);
await call("Page.navigate", { url }, sessionId);
let before = "";
for (;;) {
	const { result } = await call("Runtime.evaluate", { expression: look }, sessionId);
	if (result.value && result.value !== before)
		console.log(before = result.value);
	await new Promise(resolve => setTimeout(resolve, 50));
}
