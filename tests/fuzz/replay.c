/*
 * replay.c - runs the files it is given through a fuzz target, without a fuzzer.
 *
 * Each file is read into memory of exactly its size, so that the sanitizers see a read beyond it.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool read_whole(const char *path, uint8_t **data, size_t *size)
{
	struct stat status;
	FILE *file = fopen(path, "rb");
	bool whole = false;

	*data = NULL;
	if (file && fstat(fileno(file), &status) == 0) {
		*size = (size_t)status.st_size;
		*data = malloc(*size > 0 ? *size : 1);
		whole = *data && fread(*data, 1, *size, file) == *size;
	}
	if (file)
		fclose(file);
	return whole;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		uint8_t *data;
		size_t size;

		if (!read_whole(argv[i], &data, &size)) {
			perror(argv[i]);
			return 1;
		}
		/* When it crashes, this is the last line. */
		printf("%s\n", argv[i]);
		fflush(stdout);
		LLVMFuzzerTestOneInput(data, size);
		free(data);
	}
	return 0;
}
