#!/usr/bin/env bash
# Manifests and plugins that are broken or malicious: each ends in one line that says what is wrong; nothing of them takes effect.
. "$(dirname "$0")/lib.sh"
include=$here/../../core/include
recipe small.ini
sed -i 's/^r1 = relu/r1 = acme.relu/' small.ini
mkdir plug; chmod 755 plug
export CVR_PLUGIN_PATH=$work/plug

compile() { # OUT flag...
  local out=$1; shift
  gcc -std=c17 -shared -fPIC ${CVR_SANITIZE:+-fsanitize=$CVR_SANITIZE} -I"$include" "$@" -o "$out" "$here/bad_plugin.c"
}
manifest() { printf '%s\n' '[manifest]' 'version = 1' '' "$@" >plug/plugins.ini; }
listed() { manifest '[bad]' 'file = bad.so' "provides = ${1:-layer:acme.relu}" "${@:2}"; }
refused() { expect "${2:-1}" "$1" "$CVRUN" train small.ini epochs=1; }

# the good one first, so that the cases below fail for their own reason
compile plug/bad.so; listed
"$CVRUN" train small.ini epochs=1 >log.txt 2>&1 || { cat log.txt; fail "the good plugin is refused"; }

compile plug/bad.so -DCASE_WRONG_ABI;     refused 'bad 2.3 needs ABI 7.'
compile plug/bad.so -DCASE_NO_ENTRY;      refused 'does not export cvr_plugin_query'
compile plug/bad.so -DCASE_NO_MAGIC;      refused 'its header'\''s `magic` is not CVR_PLUGIN_MAGIC'
compile plug/bad.so -DCASE_REQUIRES;      refused 'needs op:acme.nowhere, which no manifest provides'
compile plug/bad.so -DCASE_SHORT_STRUCT;  refused 'registration 1, layer: `struct_size` is 16'
compile plug/bad.so -DCASE_NO_BUILD;      refused 'layer acme.relu: `build` is missing'
compile plug/bad.so -DCASE_UNKNOWN_KIND;  refused 'cvr.teapot/1'
compile plug/bad.so -DCASE_LOAD_FAILS;    refused 'the licence server is on fire'
compile plug/bad.so -DCASE_HALF_WAY;      refused 'layer acme.second: `build` is missing'
compile plug/bad.so -DCASE_HIDES_FAILURE; refused 'said that all is well'
compile plug/bad.so -DCASE_TWICE;         refused 'names must differ'
compile plug/bad.so -DNAME='"other"';     refused 'calls itself `other`'
compile plug/bad.so
listed 'layer:acme.relu layer:acme.more'; refused 'does not register layer:acme.more'
listed 'layer:acme.relu' 'requires = op:acme.gone'; refused 'needs op:acme.gone'
listed 'layer:acme.other'; refused 'there is no layer `acme.relu`' 2
compile plug/bad.so -DCASE_BUILTIN_NAME; listed 'layer:relu'
sed 's/acme.relu/relu/' small.ini >builtin.ini
expect 1 'layer:relu is provided by' "$CVRUN" train builtin.ini
compile plug/bad.so

# files
listed; rm plug/bad.so;                    refused 'the file is not there'
printf 'hello' >plug/bad.so;               refused 'is not a shared object (no ELF header)'
: >plug/bad.so;                            refused 'is not a shared object (no ELF header)'
compile plug/bad.so; printf '\x28' | dd of=plug/bad.so bs=1 seek=18 conv=notrunc status=none
refused 'is built for another machine'
compile plug/bad.so; head -c 3000 plug/bad.so >half; cp half plug/bad.so; refused 'cannot be loaded'
rm plug/bad.so; mkdir plug/bad.so;         refused 'is not a regular file'
rmdir plug/bad.so; mkfifo plug/bad.so;     refused 'is not a regular file'
rm plug/bad.so; compile plug/bad.so; chmod o+w plug/bad.so; refused 'run chmod o-w'
chmod o-w plug/bad.so; chmod o+w plug;     refused 'chmod o-w'
chmod o-w plug; chmod o+w plug/plugins.ini; refused 'chmod o-w'
chmod o-w plug/plugins.ini
compile outside.so; rm plug/bad.so; ln -s ../outside.so plug/bad.so; refused "lies outside the manifest's folder"
rm plug/bad.so
gcc -shared -fPIC -x c -o libgone.so - <<<'int gone(void) { return 1; }'
gcc -std=c17 -shared -fPIC -I"$include" -o plug/bad.so "$here/bad_plugin.c" -Wl,--no-as-needed -L. -lgone && rm libgone.so
if [ -z "${CVR_SANITIZE:-}" ]; then refused 'libgone.so'; fi
rm -f plug/bad.so; compile plug/bad.so

# manifests
manifest '[bad]' 'file = ../outside.so' 'provides = layer:acme.relu';  refused "lies outside the manifest's folder"
manifest '[bad]' 'file = /etc/passwd' 'provides = layer:acme.relu';    refused 'must be a path relative to this manifest'
manifest '[bad]' 'provides = layer:acme.relu';                         refused 'has no `file`'
manifest '[bad]' 'file = bad.so' 'provide = layer:acme.relu';          refused 'unknown key `provide`'
manifest '[bad]' 'file = bad.so' 'provides = acme.relu';               refused 'is not KIND:NAME'
manifest '[bad]' 'file = bad.so' 'provides = teapot:acme.relu';        refused 'is not KIND:NAME'
manifest '[bad]' 'file = bad.so' 'file = bad.so';                      refused 'has two files'
manifest '[cpu]' 'file = bad.so' 'provides = layer:acme.relu';         refused 'is listed twice'
cp plug/bad.so plug/twin.so; ln -f plug/bad.so plug/twin.so
manifest '[bad]' 'file = bad.so' 'provides = layer:acme.relu' '[twin]' 'file = twin.so' 'provides = layer:acme.twin'
refused 'is the same file as plugin'
manifest '[bad]' 'file = bad.so' "provides = layer:$(printf 'x%.0s' {1..160})"; refused 'is too long; at most 159 bytes'
printf '[manifest]\nversion = 2\n' >plug/plugins.ini;                  refused 'this core reads version 1'
printf '[bad]\nfile = bad.so\n' >plug/plugins.ini;                     refused 'a manifest starts with [manifest]'
printf '[manifest]\nversion = 1\n[bad]\n  file = bad.so\n' >plug/plugins.ini; refused 'the line is indented'
printf '[manifest]\nversion = 1\n[bad\n' >plug/plugins.ini;            refused 'a section needs a closing ]'
printf '[manifest]\nversion = 1\n[bad]\nfile\n' >plug/plugins.ini;     refused 'expected `key = value`'
printf '[manifest]\nversion = 1\n[bad]\nprovides = layer:%0300d\n' 0 >plug/plugins.ini; refused 'is too long'
printf '[manifest]\nversion = 1\n\0\n' >plug/plugins.ini;              refused 'a NUL byte'
: >plug/plugins.ini;                                                   refused 'a manifest starts with [manifest]'
rm plug/plugins.ini;                                                   refused 'has no plugins.ini'

# every one-byte truncation of a good manifest: an error line or a plugin that is not there, never a crash
listed; cp plug/plugins.ini whole.ini
for ((n = 0; n < $(stat -c %s whole.ini); n++)); do
  head -c "$n" whole.ini >plug/plugins.ini
  status=0; "$CVRUN" plugins >out.txt 2>err.txt || status=$?
  [ $status -le 1 ] || { cat err.txt; fail "status $status at $n bytes of the manifest"; }
  [ $status -eq 0 ] || [ "$(grep -c 'cvrun: error: ' err.txt)" -eq 1 ] || fail "not one error line at $n bytes of the manifest"
  checks=$((checks + 1))
done
done_with bad_plugins_test
