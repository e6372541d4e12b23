// Package ledger keeps a log that nobody can change unnoticed: a file of JSON
// lines, a Merkle tree over them, and signed checkpoints.
//
// # What it promises
//
//   - What was acknowledged is there: the record was synced before Append
//     returned; in governance mode its signed checkpoint too, in both places.
//   - No checkpoint is ever signed that is smaller than, or inconsistent with,
//     one signed before. After any failed sync nothing is acknowledged again
//     until the log has been reopened through recovery.
//   - Everything but the lines and the signatures is derived, and is rebuilt
//     from the lines when it is missing or does not belong to them.
//   - One function, Check, tests all promises; it needs no lock.
//
// It never interprets what a record says, never reads a view, never deletes a
// byte that it cannot vouch for (it moves it aside), never repairs damage below
// a signed checkpoint, and never waits for a timer before it commits a batch.
//
// # Files
//
// A log lives in one directory. NAME is "governance" or "audit".
//
//	NAME.log                  the truth: one JSON object a line, '\n' behind each
//	audit-FIRST.log           sealed segments; FIRST is the index of the first
//	                          line, 12 digits, so that a shell glob sorts them
//	NAME.checkpoint           two slots of 4 KiB with the newest signed notes
//	NAME.cosigned             the newest checkpoint with witness cosignatures
//	NAME.tile0 … NAME.tile7   tree hashes, 32 bytes each, one file a tile level
//	NAME.offsets              byte offset of every 64th line, big-endian uint64
//	NAME.state                size, root, stream heads, ids and turns at one size
//	NAME.lock                 flock(2); holds the pid and purpose of the holder
//	torn-TIME                 bytes that recovery moved out of the log
//	torn-TIME.json            their index, length and digest
//	NAME.checkpoint.lost-TIME the slots of an epoch that ended by a loss
//
// tile*, offsets and state are derived and may be deleted while nobody writes.
//
// # Lines
//
// A line is UTF-8, a JSON object, at most 65,535 bytes, nested at most 128 deep,
// without any byte below U+0020, without the escape of U+0000 and without
// escapes of lone surrogates. Its leaf hash is SHA-256(0x00 ‖ line) (RFC 6962,
// section 2.1), the newline not included.
//
// An audit line is whatever the caller gives. A governance line is exactly
//
//	{"id":"ID","streams":{"STREAM":VERSION,…},"record":BODY}
//
// with no blanks before BODY. ID has 1 to 128 bytes, a STREAM 1 to 200; both are
// printable ASCII without '"' and '\'. Streams are sorted by bytes; VERSION is
// the number of events of that stream after this record, decimal, from 1 to
// 2^53. ID and streams can therefore be read without reading the body.
//
// # Checkpoint slots
//
// A slot is 4,096 bytes: the signed note (C2SP tlog-checkpoint), zero bytes, and
// in the last 32 bytes the SHA-256 of the 4,064 before. Slots are written in
// turn (the first note into both), so that a torn write leaves the other one;
// the valid slot with the larger size is the checkpoint. The same file is kept in the second place.
//
// # Turns: new keys and new epochs
//
// A checkpoint of size s is signed by the key, and under the origin, that result
// from all turns with an index below s. A turn is a record that contains, as one
// JSON string anywhere in it, a signed note. A key change is
//
//	govern-log-key/v1
//	ORIGIN
//	INDEX of the record that holds the note
//	old verifier key
//	new verifier key
//
// signed by both keys, each under ORIGIN. An epoch, begun when a person accepts
// that signed records are lost, is
//
//	govern-log-epoch/v1
//	ORIGIN as it was pinned, without an epoch
//	EPOCH, decimal, the first one that has to be named is 2
//	INDEX of the record that holds the note
//	root hash of the INDEX records that were kept, base64
//	size of the lost checkpoint, 0 if none was lost
//	root hash of the lost checkpoint, base64
//	verifier key under the new origin
//
// signed by the log's key under the new origin, which is ORIGIN/epoch-EPOCH
// (a plus sign, which one might expect, is not allowed in note key names).
// Notes that do not verify, do not name their own index, or do not continue the
// key and epoch before them, are no turns.
//
// # Sources
//
// RFC 6962 section 2.1; c2sp.org/signed-note, tlog-checkpoint, tlog-tiles,
// tlog-proof, tlog-cosignature, tlog-witness. Requirements: the specification
// "Governance & Audit", section Audit Log Format.
package ledger
