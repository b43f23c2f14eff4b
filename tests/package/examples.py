"""The shape of the files in conf/ that other programs read, as far as that can be said here."""
import re
import sys

import yaml

problems = []


def load(name):
    with open(f"conf/{name}", encoding="utf-8") as file:
        return yaml.safe_load(file)


def check(where, value, shape):
    """A shape is a type, a set of allowed values, a list of one shape, or a dict; '?name' may be absent."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            problems.append(f"{where}: not a mapping")
            return
        names = {key.lstrip("?") for key in shape}
        problems.extend(f"{where}.{key}: unknown" for key in value if key not in names)
        for key, inner in shape.items():
            name = key.lstrip("?")
            if name in value:
                check(f"{where}.{name}", value[name], inner)
            elif not key.startswith("?"):
                problems.append(f"{where}.{name}: missing")
    elif isinstance(shape, list):
        if not isinstance(value, list) or not value:
            problems.append(f"{where}: not a list, or empty")
            return
        for number, item in enumerate(value):
            check(f"{where}[{number}]", item, shape[0])
    elif isinstance(shape, set):
        if value not in shape:
            problems.append(f"{where}: {value!r} is not one of {sorted(map(str, shape))}")
    elif not isinstance(value, shape):
        problems.append(f"{where}: {value!r} is no {shape}")


VARIABLE = {"name": str, "?value": str,
            "?valueFrom": {"secretKeyRef": {"name": str, "key": str}}}
CONTAINER = {"name": str, "image": str, "?args": [str], "?command": [str], "?env": [VARIABLE],
             "?restartPolicy": {"Always"},
             "?startupProbe": {"exec": {"command": [str]}, "?periodSeconds": int},
             "?securityContext": {"runAsNonRoot": bool, "runAsUser": int,
                                  "readOnlyRootFilesystem": bool, "allowPrivilegeEscalation": bool,
                                  "capabilities": {"drop": [str]}}}
JOB = {"apiVersion": {"batch/v1"}, "kind": {"Job"}, "metadata": {"name": str},
       "spec": {"backoffLimit": int, "template": {"spec": {
           "restartPolicy": {"Never", "OnFailure"}, "terminationGracePeriodSeconds": int,
           "initContainers": [CONTAINER], "containers": [CONTAINER]}}}}
SERVICE = {"?image": str, "?build": {"context": str, "dockerfile": str}, "?environment": dict,
           "?healthcheck": {"test": [str], "interval": str, "retries": int},
           "?depends_on": (dict, list), "?network_mode": str, "?volumes": [str],
           "?command": [str], "?stop_grace_period": str}
STEP = {"?uses": str, "?run": str}
WORKFLOW = {"name": str, True: list,  # YAML 1.1 reads `on` so; GitHub does not
            "jobs": {"migrate": {"runs-on": str, "container": str, "services": dict, "env": dict,
                                 "steps": [STEP]}}}


def check_sidecar():
    job = load("sidecar.yaml")
    check("sidecar", job, JOB)
    pod = job["spec"]["template"]["spec"]
    if pod["initContainers"][0].get("restartPolicy") != "Always":
        problems.append("sidecar: pgaside would have to end before the job begins")


def check_compose():
    services = load("compose.yaml")["services"]
    for name, service in services.items():
        check(f"compose.{name}", service, SERVICE)
        for other in service.get("depends_on", []):
            if other not in services:
                problems.append(f"compose.{name}: there is no {other}")


def check_workflow():
    workflow = load("github-actions.yaml")
    workflow = {("True" if key is True else key): value for key, value in workflow.items()}
    check("workflow", workflow, {("True" if key is True else key): shape
                                 for key, shape in WORKFLOW.items()})


def check_containerfile():
    with open("conf/Containerfile", encoding="utf-8") as file:
        text = re.sub(r"\\\n", " ", file.read())
    for line in text.splitlines():
        if line and not re.match(r"(#|(FROM|RUN|COPY|USER|ENTRYPOINT|CMD) \S)", line):
            problems.append(f"Containerfile: {line}")


def check_settings():
    """Variables that set something must be settings."""
    with open("conf/pgaside.ini", encoding="utf-8") as file:
        settings = set(re.findall(r"^#(\w+) =", file.read(), re.M))
    for name in ("Containerfile", "compose.yaml", "sidecar.yaml", "github-actions.yaml"):
        with open(f"conf/{name}", encoding="utf-8") as file:
            for variable in re.findall(r"PGASIDE_([A-Z_]+)", file.read()):
                if variable.lower() not in settings:
                    problems.append(f"{name}: no setting {variable}")


for each in (check_sidecar, check_compose, check_workflow, check_containerfile, check_settings):
    each()
print("\n".join(problems))
sys.exit(1 if problems else 0)
