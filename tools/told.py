"""Reads `go test -json`: prints one line a package and the whole output of what
failed; writes the names of skipped tests into the file named."""
import json
import sys

output, failed, skipped = {}, set(), []
for line in sys.stdin:
    try:
        e = json.loads(line)
    except ValueError:
        print(line, end="", flush=True)  # build errors of older shapes, panics of the tool
        continue
    package = e.get("Package") or e.get("ImportPath", "")
    key = (package, e.get("Test", ""))
    if e["Action"] in ("output", "build-output"):
        output.setdefault(key, []).append(e["Output"])
    elif e["Action"] == "build-fail":
        print("FAIL  " + package + " (build)\n" + "".join(output.pop(key, [])), flush=True)
    elif e["Action"] == "skip" and e.get("Test"):
        skipped.append(package.removeprefix("github.com/governhq/govern/") + " " + e["Test"])
    elif e["Action"] == "fail" and e.get("Test"):
        failed.add(key)
    elif e["Action"] in ("pass", "fail") and not e.get("Test"):
        ok = e["Action"] == "pass"
        print(("ok    " if ok else "FAIL  ") + package.replace("github.com/governhq/govern/", "./") + "  %.1fs" % e.get("Elapsed", 0), flush=True)
        if not ok:
            names = sorted(k[1] for k in failed if k[0] == package)
            leaves = [n for n in names if not any(o.startswith(n + "/") for o in names)]
            for n in leaves + [""]:
                lines = [l for l in output.get((package, n), []) if not l.startswith("=== ")]
                print("".join(lines)[-12000:], end="", flush=True)
        for k in [k for k in output if k[0] == package]:
            del output[k]
with open(sys.argv[1], "w") as f:
    f.writelines(s + "\n" for s in sorted(set(skipped)))
