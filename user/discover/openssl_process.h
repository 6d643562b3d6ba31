/* SPDX-License-Identifier: MIT */
/*
 * Which libraries for TLS a process has loaded. OpenSSL's is known by its file's name, as every
 * distribution has it and as Python's wheels bundle it; what it really is, its code says
 * (binary_inspect_openssl()).
 */
#ifndef PULLTAP_DISCOVER_OPENSSL_PROCESS_H
#define PULLTAP_DISCOVER_OPENSSL_PROCESS_H

#include "discover/binary.h"
#include "discover/process.h"
#include "discover/process_maps.h"

/* A program with more at a time has not been seen. */
#define OPENSSL_LIBRARIES 4

struct openssl_process {
	const struct process *process; /* borrowed */
	uint64_t device; /* of its executable, as pt_tls_layout.exe_device wants it */
	unsigned int libraries_count;
	struct process_map libraries[OPENSSL_LIBRARIES];
	bool has_crypto;
	struct process_map crypto; /* OpenSSL's other library, which knows its version */
	const char *other; /* a library for TLS that is not supported, "GnuTLS"; NULL */
};

/* Reads what ret->process, set by the caller, has mapped now. */
must_check int openssl_process_read(int proc, struct openssl_process *ret);

/* Is it a file of OpenSSL, by its name? Else *ret_other names another library if it is one. */
bool openssl_process_is_library(const char *path, const char **ret_other);

/* The sites of a library count for this process's executable alone. */
void openssl_process_own(const struct openssl_process *process, struct binary *binary);

#endif
