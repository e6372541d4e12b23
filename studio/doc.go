// Package studio is the reference system that govern governs: an orchestrator
// whose one operation, compose_section, composes a section of music from
// versioned modules.
//
// It promises that
//
//   - the same section spec and the same bundle give the same bytes, on every
//     machine and with every version of Go: each module draws from a PCG of its
//     own, derived from the seed and the module's name, and all arithmetic is on
//     integers;
//   - every input and every output of every module is checked against the
//     contract that the manifest names, and what does not satisfy it is never
//     returned;
//   - every invocation, failed ones too, leaves one audit record from which
//     [Orchestrator.Replay] reproduces the output digest bit for bit;
//   - faults injected for rehearsals are named in that record.
//
// It never composes without a record unless told so in so many words, never
// reads a file that its bundle does not contain, never loads a module whose
// configuration does not have the digest in the manifest, and imports only
// public packages of this module.
//
// # Bundles
//
// A bundle is a directory with manifest.json, modules/ (configurations) and
// contracts/ (JSON Schemas, openapi.yaml), or the same as one file: a USTAR
// archive of these files sorted by name, with all metadata fixed, so that equal
// content is an equal file. Its SHA-256 is the artifact digest that /identify
// reports. See [Pack], [Load] and [Seal].
//
// # A change that goes bad
//
// For demonstrations: set "spread" in modules/bass.json from 12 to 40. That
// satisfies BassSpec, so the bundle loads and most sections compose; but in
// about a tenth of all seeds (the tests hold it between 5 and 15 %) the leap at
// the climax goes above C4, which BassPart does not allow, and compose_section
// fails: HTTP 500, code output_contract. Which seeds fail is fixed, so it is a
// real defect that only real traffic finds.
package studio
