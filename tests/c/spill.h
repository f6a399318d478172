/* spill.h - the jobs of a body done at once, as a loop without threads does them. */
#ifndef SPILL_H
#define SPILL_H

#include "http/body.h"
#include "http/job.h"

/* Does what is due; `whole`: nothing more will come.  FW_OK or -errno. */
static inline int spill(fw_body *b, bool whole, const fw_config *cfg)
{
    int rc = FW_OK;
    while (rc == FW_OK && fw_body_due(b, whole, cfg)) {
        fw_job *j = fw_body_lend(b, b, cfg);
        if (j == NULL)
            return -ENOMEM;
        fw_job_run(j);
        rc = fw_body_take_back(b);
    }
    return rc;
}

/* Appends, and does what is due. */
static inline int spill_put(fw_body *b, const char *data, size_t n, const fw_config *cfg)
{
    const int rc = fw_body_append(b, data, n);
    return rc == FW_OK ? spill(b, false, cfg) : rc;
}

#endif
