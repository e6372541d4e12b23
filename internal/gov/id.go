package gov

import (
	"regexp"
	"strconv"
	"strings"
)

// ChangeID is "CHANGE-n" with n >= 1 and no leading zero.
type ChangeID string

var changeID = regexp.MustCompile(`^CHANGE-([1-9][0-9]{0,8})$`)

// ParseChangeID refuses anything that is not CHANGE-n.
func ParseChangeID(s string) (ChangeID, error) {
	if !changeID.MatchString(s) {
		return "", Errorf(KindInvalid, "change_id_invalid", "%q is not a change id; it has the form CHANGE-n", s)
	}
	return ChangeID(s), nil
}

// NewChangeID is the id with number n.
func NewChangeID(n int) ChangeID { return ChangeID("CHANGE-" + strconv.Itoa(n)) }

// Number is n of CHANGE-n, 0 for an invalid id.
func (id ChangeID) Number() int {
	n, err := strconv.Atoi(strings.TrimPrefix(string(id), "CHANGE-"))
	if err != nil || !changeID.MatchString(string(id)) {
		return 0
	}
	return n
}

// Stream names one sequence of events. A decision names every stream it read.
type Stream string

const (
	StreamPolicy Stream = "policy" // policies adopted from the protected branch
	StreamPeople Stream = "people" // registries adopted from the protected branch
)

// StreamChange is the stream of one change.
func StreamChange(id ChangeID) Stream { return Stream("change/" + string(id)) }

// StreamTarget is the stream of one deployment target.
func StreamTarget(name string) Stream { return Stream("target/" + name) }

// StreamModels is the stream of one freeze scope of models.
func StreamModels(scope string) Stream { return Stream("models/" + scope) }

// StreamLog is the stream of the log itself: genesis, keys, clock, anchors.
func StreamLog(origin string) Stream { return Stream("log/" + origin) }
