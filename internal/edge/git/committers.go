package git

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// AgentTrailer is the line in a commit message with which an agent names
// itself: "Govern-Agent: HANDLE".
const AgentTrailer = "Govern-Agent"

const coauthorTrailer = "Co-authored-by"

// Committers is who had a hand in a range of commits, as the commits claim.
// Lists are sorted and without duplicates.
type Committers struct {
	Emails  []string // of authors, committers and co-authors, as written
	Agents  []string // values of AgentTrailer lines
	Commits int
}

// Committers collects everybody named in the commits that head has and base has
// not, on all parents. Trailers count anywhere in the message, in any case.
// Commits that only add statement files are left out: an approver who commits
// his statement has no hand in the content. Addresses that are not UTF-8 carry
// U+FFFD. Errors: commit_not_found, repository_shallow, object_missing.
func (r *Repo) Committers(ctx context.Context, base, head string) (Committers, error) {
	emails, agents := map[string]bool{}, map[string]bool{}
	count := 0
	base, head, err := r.pair(ctx, base, head)
	if err != nil {
		return Committers{}, err
	}
	records, err := r.statementsOnly(ctx, base, head)
	if err != nil {
		return Committers{}, err
	}
	err = r.commits(ctx, base, head, func(c commitObject) {
		count++
		if records[c.id] {
			return
		}
		for _, e := range c.emails {
			emails[e] = true
		}
		for _, a := range c.agents {
			agents[a] = true
		}
	})
	if err != nil {
		return Committers{}, err
	}
	delete(emails, "")
	delete(agents, "")
	return Committers{Emails: slices.Sorted(maps.Keys(emails)), Agents: slices.Sorted(maps.Keys(agents)), Commits: count}, nil
}

// commitLimit is the size in bytes up to which a commit object is read.
const commitLimit = 4 << 20

// commits reads every commit that head has and base has not, newest first.
func (r *Repo) commits(ctx context.Context, base, head string, take func(commitObject)) error {
	if err := r.deep(); err != nil {
		return err
	}
	base, head, err := r.pair(ctx, base, head)
	if err != nil {
		return err
	}
	out, err := r.git(ctx, "rev-list", head, "^"+base, "--")
	if err != nil {
		return err
	}
	ids := strings.Fields(string(out))
	return r.objects(ctx, ids, commitLimit, func(i int, kind string, data []byte, large bool) error {
		if kind != "commit" || large {
			return gov.Errorf(gov.KindIntegrity, "commit_unreadable", "commit %.12s is too large to read", ids[i])
		}
		c := parseCommit(data)
		c.id = ids[i]
		take(c)
		return nil
	})
}

// commitObject is what is read of a raw commit.
type commitObject struct {
	id      string
	emails  []string
	agents  []string
	message string
}

func parseCommit(raw []byte) commitObject {
	head, message, _ := strings.Cut(string(raw), "\n\n")
	c := commitObject{message: message}
	for line := range strings.SplitSeq(head, "\n") {
		key, value, _ := strings.Cut(line, " ")
		if key == "author" || key == "committer" {
			c.emails = append(c.emails, email(value))
		}
	}
	for line := range strings.SplitSeq(message, "\n") {
		key, value, ok := strings.Cut(line, ":")
		key = strings.TrimSpace(key)
		switch {
		case !ok:
		case strings.EqualFold(key, coauthorTrailer):
			c.emails = append(c.emails, email(value))
		case strings.EqualFold(key, AgentTrailer):
			c.agents = append(c.agents, printable(strings.TrimSpace(value)))
		}
	}
	return c
}

// email takes the address between the last angle brackets of "Name <address>".
func email(ident string) string {
	end := strings.LastIndexByte(ident, '>')
	if end < 0 {
		return ""
	}
	start := strings.LastIndexByte(ident[:end], '<')
	return printable(strings.TrimSpace(ident[start+1 : end]))
}
