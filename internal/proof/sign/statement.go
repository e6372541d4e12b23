package sign

import (
	"bytes"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/gov/strict"
)

// inToto is an in-toto Statement v1 about gov.Statement.
type inToto struct {
	Type          string        `json:"_type"`
	Subject       []subject     `json:"subject"`
	PredicateType string        `json:"predicateType"`
	Predicate     gov.Statement `json:"predicate"`
}

// subject is an in-toto ResourceDescriptor: a name and a SHA-256.
type subject struct {
	Name   string     `json:"name"`
	Digest subjectSum `json:"digest"`
}

type subjectSum struct {
	SHA256 string `json:"sha256"` // 64 hex digits
}

// subjects lists what a statement is about, so that in-toto tools find it by
// digest: "change", "tree", "artifact/NAME", "statement" (the one meant by a
// revoke or review), "report" and "build/NAME" (of evidence), in this order.
func subjects(st gov.Statement) []subject {
	var out []subject
	add := func(name string, d gov.Digest) {
		if d != "" {
			out = append(out, subject{Name: name, Digest: subjectSum{SHA256: d.Hex()}})
		}
	}
	add("change", st.Revision.Change)
	add("tree", st.Revision.Tree)
	for _, a := range st.Artifacts {
		add("artifact/"+a.Name, a.Digest)
	}
	add("statement", st.Subject)
	if e := st.Evidence; e != nil {
		add("report", e.Report)
		if e.Artifact != nil {
			add("build/"+e.Artifact.Name, e.Artifact.Digest)
		}
	}
	return out
}

// encode gives the canonical payload of a statement that passes check.
func encode(st gov.Statement) ([]byte, error) {
	if err := check(st); err != nil {
		return nil, err
	}
	payload, err := canonical(inToto{
		Type: StatementType, Subject: subjects(st), PredicateType: gov.PredicateType, Predicate: st,
	})
	if err != nil {
		return nil, err
	}
	if _, err := decode(payload); err != nil {
		return nil, err
	}
	return payload, nil
}

// decode reads a payload strictly. Its bytes must be what encoding the decoded
// statement gives again, so that one statement has one spelling: no null for
// absent, no second way to write a time or a number.
func decode(payload []byte) (gov.Statement, error) {
	var in inToto
	if err := strict.Unmarshal(payload, &in, strict.Options{Name: "payload", MaxBytes: MaxEnvelope, NoNull: true}); err != nil {
		return gov.Statement{}, err
	}
	if in.Type != StatementType {
		return gov.Statement{}, gov.Errorf(gov.KindInvalid, "statement_type", "the _type is not %s", StatementType)
	}
	if in.PredicateType != gov.PredicateType {
		return gov.Statement{}, gov.Errorf(gov.KindInvalid, "statement_predicate_type", "the predicateType is not %s", gov.PredicateType)
	}
	if err := check(in.Predicate); err != nil {
		return gov.Statement{}, err
	}
	want := subjects(in.Predicate)
	if len(want) != len(in.Subject) {
		return gov.Statement{}, subjectMismatch()
	}
	for i := range want {
		if want[i] != in.Subject[i] {
			return gov.Statement{}, subjectMismatch()
		}
	}
	again, err := canonical(in)
	if err != nil {
		return gov.Statement{}, err
	}
	if !bytes.Equal(again, payload) {
		return gov.Statement{}, notCanonical("payload")
	}
	return in.Predicate, nil
}

func subjectMismatch() error {
	return gov.Errorf(gov.KindInvalid, "statement_subject_mismatch", "the in-toto subjects are not the digests of the predicate")
}
