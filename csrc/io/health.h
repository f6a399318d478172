/* health.h - the paths that the loop answers itself: whether this server lives, and whether it is ready for requests.
 *
 * They are answered whatever the application threads do, so a probe is never behind a slow call. Three questions:
 *
 *  - live: the loop runs. Always well; a loop that does not run says nothing.
 *  - ready: requests should come here. Not while the server drains or stops (unless another worker goes on, which the
 *    next connection finds), and not in an overload: somebody else can serve sooner.
 *  - health: both in one, for whoever asks a single path. An overload is no reason to restart a server, so it does not
 *    count.
 */
#ifndef FW_HEALTH_H
#define FW_HEALTH_H

#include "io/conns.h"

enum fw_probe { FW_PROBE_NONE, FW_PROBE_HEALTH, FW_PROBE_LIVE, FW_PROBE_READY };

/* True if these settings have a path to be answered. */
bool fw_health_is_on(const fw_config *cfg);

/* What a request asks, if it asks for one of the paths by GET or HEAD. */
enum fw_probe fw_health_asked(const fw_config *cfg, const fw_request *r);

/* Why the answer is no, or NULL if all is well. */
const char *fw_health_trouble(const fw_conns *cs, enum fw_probe probe);

#endif
