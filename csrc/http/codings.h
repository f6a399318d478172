/* codings.h - the content codings that a client accepts (RFC 9110 12.5.3), of those that a file may lie ready in. */
#ifndef FW_CODINGS_H
#define FW_CODINGS_H

#include "http/fields.h"

/* From the one that we would choose first on; all but the last are endings of files, too. */
enum fw_coding { FW_CODING_ZSTD, FW_CODING_BROTLI, FW_CODING_GZIP, FW_CODING_IDENTITY, FW_CODINGS };

typedef struct fw_coding_order {
    uint8_t n;
    uint8_t list[FW_CODINGS - 1]; /* enum fw_coding: what the client accepts, what it likes best first */
} fw_coding_order;

/* What a request accepts; what it likes less than the file as it is, is left out. */
void fw_codings_read(const fw_request *r, fw_coding_order *to);

/* Its name in Content-Encoding, and how the names of such files end. */
const char *fw_coding_name(enum fw_coding c);
const char *fw_coding_ending(enum fw_coding c);

#endif
