package gov

// Evidence is a report of a tool in normal form. It counts only inside a
// statement signed by a principal who is allowed that kind.
//
// Kind is what the report shows: tests, coverage, contracts, security_scan,
// architecture_review, integration, build. Passed, Failed and Skipped count
// results; a skipped result never satisfies anything. Coverage is the share of
// covered statements in [0,1], or absent. Details of single results are
// bounded by the 64 KiB line: a long report keeps its counts here and its
// results in the blob named by Results.
type Evidence struct {
	Kind     string    `json:"kind"`
	Tool     string    `json:"tool"`
	Version  string    `json:"version,omitempty"`
	Report   Digest    `json:"report"` // SHA-256 of the raw report file
	Passed   int       `json:"passed"`
	Failed   int       `json:"failed"`
	Skipped  int       `json:"skipped"`
	Coverage *float64  `json:"coverage,omitempty"`
	Results  []Result  `json:"results,omitempty"`
	Artifact *Artifact `json:"artifact,omitempty"` // build: revision → name → digest
	Findings int       `json:"findings,omitempty"` // error-level results of a scanner
	Unread   []string  `json:"unread,omitempty"`   // parts of the report that could not be read: never passes
}

// Result is one named result of a report; Status is passed, failed or skipped.
type Result struct {
	ID     string `json:"id"`
	File   string `json:"file,omitempty"`
	Status string `json:"status"`
}

// Manifest is the reference system's list of modules; contracts, consumers and
// model rules read it.
type Manifest struct {
	Version string   `json:"manifest_version"`
	Modules []Module `json:"modules"`
}

// Module is one entry of a manifest.
type Module struct {
	Name            string `json:"name"`
	Version         string `json:"version"`
	InterfaceSchema string `json:"interface_schema"`
	Owner           string `json:"owner"`
	Type            string `json:"type"` // deterministic or adaptive
	Digest          Digest `json:"digest"`
	Config          string `json:"config,omitempty"` // path of the module's configuration, relative to the manifest
}
