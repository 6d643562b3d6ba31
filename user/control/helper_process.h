/* SPDX-License-Identifier: MIT */
/*
 * The other end of base/helper.h: a child that keeps the rights the agent gives up and does a
 * few acts with them. It parses nothing, talks to nobody but the agent, and ends with it.
 */
#ifndef PULLTAP_CONTROL_HELPER_PROCESS_H
#define PULLTAP_CONTROL_HELPER_PROCESS_H

/* Answers until the agent closes its end. Never returns. */
_Noreturn void helper_serve(int socket);

#endif
