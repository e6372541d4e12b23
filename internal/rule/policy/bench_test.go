package policy

import "testing"

func BenchmarkParse(b *testing.B) {
	text := Print(facts().Policy)
	for b.Loop() {
		if _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPlan(b *testing.B) {
	f := facts()
	for b.Loop() {
		Plan(f)
	}
}

func BenchmarkEnv(b *testing.B) {
	for b.Loop() {
		if _, err := newEnv(); err != nil {
			b.Fatal(err)
		}
	}
}
