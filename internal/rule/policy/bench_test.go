package policy

import (
	"strconv"
	"testing"
)

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

// BenchmarkManyPaths is a rule that looks at each of 20,000 paths.
func BenchmarkManyPaths(b *testing.B) {
	f := facts(func(f *Facts) {
		f.Policy.Raise = []RaiseRule{{When: `paths.exists(p, p.glob("nowhere/**"))`, Risk: "high", Because: "b"}}
		for i := range 20_000 {
			f.Paths = append(f.Paths, "src/"+strconv.Itoa(i)+"/main.go")
		}
	})
	for b.Loop() {
		if a := Plan(f); a.Risk != "low" {
			b.Fatal(a.RiskWhy)
		}
	}
}

// BenchmarkCostLimit is a rule that runs into the limit.
func BenchmarkCostLimit(b *testing.B) {
	f := facts(func(f *Facts) {
		f.Policy.Raise = []RaiseRule{{When: `paths.all(a, paths.all(b, paths.all(c, !c.glob("nowhere/**"))))`, Risk: "high", Because: "b"}}
		for i := range 2000 {
			f.Paths = append(f.Paths, "src/"+strconv.Itoa(i)+"/main.go")
		}
	})
	for b.Loop() {
		if a := Plan(f); a.Risk != "critical" {
			b.Fatal(a.RiskWhy)
		}
	}
}
