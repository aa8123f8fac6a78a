#!/usr/bin/env bash
# Other tests once more with every run on `far`, in blocks of at most 64 MB and with nothing left to the host: far_test TEST...
. "$(dirname "$0")/lib.sh"
mkdir bin
cat >bin/cvrun <<END
#!/usr/bin/env bash
case \${1:-} in
  train | val | predict) exec "$CVRUN" "\$@" backend.name=far backend.fallback=error backend.far_max_block=67108864 ;;
  *) exec "$CVRUN" "\$@" ;;
esac
END
chmod +x bin/cvrun
ln -s "$(dirname "$CVRUN")/cvr-manifest" bin/cvr-manifest
[ $# -gt 0 ] || set -- resume_test passes_cli_test
for name in "$@"; do
  CVRUN=$work/bin/cvrun bash "$here/$name.sh" >out.txt 2>&1 || { tail -n 30 out.txt >&2; fail "$name on far"; }
  checks=$((checks + 1))
done
done_with far_test
