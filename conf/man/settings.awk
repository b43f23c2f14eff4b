# settings.awk - the settings of pgaside.ini(5), as mdoc, from conf/pgaside.ini, which has them all (a test
# compares it with the table in the program). A block there is comments, then the keys they are about.

function escape(text) {
	gsub(/\\/, "\\e", text)
	sub(/^[.']/, "\\\\\\&&", text)
	gsub(/\. /, ".\n", text) # a sentence a line
	return text
}

function close_list() {
	if (open)
		print ".El"
	open = 0
}

function flush_block(    i) {
	if (keys > 0 && !open) {
		print ".Bl -tag -width Ds"
		open = 1
	}
	for (i = 1; i <= keys; i++)
		print ".It Ic " key[i]
	for (i = 1; i <= lines; i++)
		print line[i]
	keys = lines = 0
}

/^; ---- .* ----$/ {
	flush_block()
	close_list()
	gsub(/^; ---- | ----$/, "")
	print ".Ss " toupper(substr($0, 1, 1)) substr($0, 2)
	started = 1
	next
}
!started { next }
/^;   / { line[++lines] = ".Dl " escape(substr($0, 5)); next }
/^; / { line[++lines] = escape(substr($0, 3)); next }
/^#[a-z_]+ =/ { sub(/ =$/, " = "); key[++keys] = escape(substr($0, 2)); next }
/^$/ { flush_block() }
END { flush_block(); close_list() }
