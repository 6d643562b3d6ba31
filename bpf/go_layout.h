/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * How Go's net/http lays out what a finished reply is made of. Offsets in bytes on
 * amd64, docs/adding-a-probe.md says where from; no version is believed, pointers that lead back to
 * their owner choose.
 */
#ifndef PULLTAP_GO_LAYOUT_H
#define PULLTAP_GO_LAYOUT_H

/* net/http.Request, unchanged since 1.7 */
#define GO_REQUEST_METHOD 0
#define GO_REQUEST_URL 16
#define GO_REQUEST_HEADER 56
#define GO_REQUEST_REMOTE_ADDR 176
#define GO_REQUEST_URI 192
#define GO_REQUEST_BYTES 208
#define GO_URL_PATH 56

/* net/http.response: cw.res points back at the response, which tells where cw lies */
#define GO_RESPONSE_REQUEST 8
#define GO_RESPONSE_CW 64
#define GO_RESPONSE_CW_127 72
#define GO_CW_HANDLER_HEADER 24 /* from cw */
#define GO_CW_STATUS 56
#define GO_RESPONSE_BYTES 136

/* responseWriterState of HTTP/2: bw is a *bufio.Writer whose writer is the state itself */
#define GO_RWS_REQUEST 8
#define GO_RWS_BW 24
#define GO_RWS_BW_119 32
#define GO_RWS_BW_127 192
#define GO_BW_HANDLER_HEADER 8 /* from bw */
#define GO_BW_STATUS 48
#define GO_BUFIO_WRITER 56 /* data word of bufio.Writer.wr */
#define GO_RWS_BYTES 88

/* Go 1.27 keeps the request inside the state */
#define GO_RWS_INLINE_METHOD 56
#define GO_RWS_INLINE_HEADER 80
#define GO_RWS_INLINE_REMOTE_ADDR 136
#define GO_RWS_INLINE_URI 152
#define GO_RWS_INLINE_BYTES 248

/* map[string][]string before 1.24 */
#define GO_HMAP_B 9
#define GO_HMAP_BUCKETS 16
#define GO_HMAP_OLD_BUCKETS 24
#define GO_HMAP_BYTES 32
#define GO_BUCKET_BYTES 336
#define GO_BUCKET_KEYS 8
#define GO_BUCKET_VALUES 136
#define GO_BUCKET_OVERFLOW 328
#define GO_BUCKET_MIN_TOPHASH 5 /* smaller ones mark empty or moved slots */

/* the same from 1.24 on ("Swiss" maps) */
#define GO_SWISS_DIR_PTR 16
#define GO_SWISS_DIR_LEN 24
#define GO_SWISS_BYTES 32
#define GO_TABLE_GROUPS 16
#define GO_TABLE_MASK 24
#define GO_GROUP_BYTES 328
#define GO_GROUP_SLOTS 8
#define GO_GROUP_SLOT_BYTES 40
#define GO_GROUP_SLOT_VALUE 16
#define GO_GROUP_SPLIT_VALUES 136
#define GO_SLICE_BYTES 24
#define GO_STRING_BYTES 16

#endif
