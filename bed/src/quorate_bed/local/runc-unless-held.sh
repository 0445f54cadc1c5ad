#!/bin/sh
# containerd calls this in place of runc. It refuses to create a container of a pod that a test keeps
# dead, and is runc in every other case. Each file in the holds' directory is named <namespace>_<pod>.
runc=@RUNC@
holds=@HOLDS@
bundle=
creating=
before=
log=
for word in "$@"; do
    [ "$before" = --bundle ] && bundle=$word
    [ "$before" = --log ] && log=$word
    [ "$word" = create ] && creating=yes
    before=$word
done
if [ -n "$creating" ] && [ -f "$bundle/config.json" ]; then
    for hold in "$holds"/*_*; do
        [ -e "$hold" ] || break
        name=${hold##*/}
        if grep -q '"io.kubernetes.cri.container-type":"container"' "$bundle/config.json" &&
            grep -q "\"io.kubernetes.cri.sandbox-namespace\":\"${name%%_*}\"" "$bundle/config.json" &&
            grep -q "\"io.kubernetes.cri.sandbox-name\":\"${name#*_}\"" "$bundle/config.json"; then
            why="a test keeps the pod ${name#*_} dead"
            [ -n "$log" ] && printf '{"level":"error","msg":"%s"}\n' "$why" >"$log"
            echo "$why" >&2
            exit 1
        fi
    done
fi
exec "$runc" "$@"
