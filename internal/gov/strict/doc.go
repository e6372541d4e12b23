// Package strict decodes JSON that somebody else wrote and refuses whatever two
// readers could understand differently.
//
// It promises: what it accepts is one RFC 8259 value in valid UTF-8 without
// U+0000 and without lone surrogates, in which no object names a key twice at
// any depth, nested no deeper and no longer than allowed, in which every number
// fits a float64, and, when decoded into a Go type, every key is a field of
// that type spelled exactly so and every value has the type of its field.
// Whatever it accepts, encoding/json accepts with the same meaning. Every
// refusal is a *gov.Error of KindInvalid whose message starts with line:column
// and names the JSON path, and whose cause is a *Fault holding them as values.
//
// It never guesses, never repairs, never prints a value of the document (only
// keys and types, shortened), and imports nothing but the standard library.
//
// Codes: json_syntax, json_unknown_key, json_duplicate_key, json_wrong_type,
// json_too_large, json_too_deep, json_invalid_utf8 (also lone surrogates),
// json_nul, json_trailing.
package strict
