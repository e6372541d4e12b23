package gov

// Revision names content twice. People's statements and the canary bind to
// Change; tests, coverage, contracts and scans bind to Tree. Statements are
// looked up by digest, never by Commit.
type Revision struct {
	Change Digest `json:"change"` // sorted (path, old mode+blob, new mode+blob) from merge-base to head
	Tree   Digest `json:"tree"`   // the whole tree that will stand on the target
	Commit string `json:"commit,omitempty"`
	Base   string `json:"base,omitempty"` // merge-base commit
}

// PathChange is one touched path. Modes are git's octal strings, blobs git
// object ids; "000000" and zeros mean absent.
type PathChange struct {
	Path    string `json:"path"`
	OldMode string `json:"old_mode"`
	OldBlob string `json:"old_blob"`
	NewMode string `json:"new_mode"`
	NewBlob string `json:"new_blob"`
}
