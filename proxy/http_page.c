#include "http_page.h"

/* Found from the directory in which make runs; the Makefile knows that this file depends on it. */
__asm__(".pushsection .rodata\n"
	".hidden http_page_begin, http_page_end\n"
	".global http_page_begin, http_page_end\n"
	"http_page_begin: .incbin \"proxy/page.html\"\n"
	"http_page_end: .byte 0\n"
	".popsection\n");

extern const uint8_t http_page_begin[], http_page_end[];

/* What stands in the page where the nonce belongs. */
static const char mark[] = "@nonce@";

void http_page_write(struct bytes *out, const char *nonce)
{
	const uint8_t *at = http_page_begin, *next;

	while ((next = memmem(at, (size_t)(http_page_end - at), mark, strlen(mark)))) {
		bytes_put(out, at, (size_t)(next - at));
		bytes_put(out, nonce, strlen(nonce));
		at = next + strlen(mark);
	}
	bytes_put(out, at, (size_t)(http_page_end - at));
}
