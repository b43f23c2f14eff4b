#include "loop.h"

#include <event2/event.h>

/* A socket may ask for more as often as it likes: after so many callbacks the kernel is asked who
 * else is there. */
#define CALLBACKS_AT_ONCE 64

struct event_base *loop_new(void)
{
	struct event_config *c = event_config_new();
	struct event_base *base;

	if (!c)
		return NULL;
	event_config_set_flag(c, EVENT_BASE_FLAG_NOLOCK);
	event_config_set_flag(c, EVENT_BASE_FLAG_IGNORE_ENV);
	event_config_require_features(c, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE);
	event_config_set_max_dispatch_interval(c, NULL, CALLBACKS_AT_ONCE, 0);
	base = event_base_new_with_config(c);
	event_config_free(c);
	return base;
}
