/* SPDX-License-Identifier: Apache-2.0 */
/* A message as the stream thread sends it: in fragments. */
#ifndef SIDECAR_MESSAGE_PRIVATE_H
#define SIDECAR_MESSAGE_PRIVATE_H

#include "message.h"

enum { MESSAGE_FRAGMENT_BYTES = 256 << 10 };

/* At least 1. */
size_t message_fragments(const struct message *message);

/*
 * The bytes of one fragment, index < message_fragments. lws_write puts the frame's header into the
 * LWS_PRE bytes before them, which are the end of the fragment before: whoever calls it puts them
 * back. The stream thread only.
 */
unsigned char *message_fragment(struct message *message, size_t index, size_t *bytes);

#endif
