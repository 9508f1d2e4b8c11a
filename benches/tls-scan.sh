#!/bin/bash
# Judges the gateway's TLS from outside: sslyze and testssl.sh against a gateway on loopback, with root, intermediate and leaf.
# tls-scan.sh FOLDER-OF-THE-PROGRAMS FOLDER-FOR-THE-RESULTS; SSLYZE is where sslyze is (pip install sslyze in a venv).
set -eu
bin=${1:?where gatehouse lies}; out=${2:?a folder for the results}; sslyze=${SSLYZE:-sslyze}
mkdir -p "$out"; cd "$out"; rm -rf data
x509() { openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days "$3" -extfile "$1.ext" -out "$1.pem" 2>/dev/null; }
key() { openssl ecparam -genkey -name prime256v1 -noout -out "$1.key"; openssl req -new -key "$1.key" -subj "/O=Scan/CN=$2" -out "$1.csr"; }
key root "Scan Root"
openssl req -x509 -key root.key -subj "/O=Scan/CN=Scan Root" -days 3650 -addext keyUsage=critical,keyCertSign,cRLSign -out root.pem 2>/dev/null
key inter "Scan Intermediate"
printf 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' >inter.ext
x509 inter root 1825
key leaf localhost
printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\ncrlDistributionPoints=URI:http://crl.scan.test/i.crl\nauthorityInfoAccess=OCSP;URI:http://ocsp.scan.test/\n' >leaf.ext
x509 leaf inter 89
cat leaf.pem inter.pem >chain.pem
args=(); for l in http https ssh novnc ttyd admin sync gateway-admin; do args+=("--$l" 127.0.0.1:0); done
"$bin/gatehouse" up --data data -o json "${args[@]}" >ready.json 2>up.log & up=$!
trap 'kill $up' EXIT
for _ in $(seq 200); do [ -s ready.json ] && break; sleep 0.1; done
port=$(python3 -c 'import json;print(json.loads(open("ready.json").readline())["https"][0].rsplit(":",1)[1])')
cli() { "$bin/gatehouse" --data data "$@"; }
python3 -m http.server --bind 127.0.0.1 0 >origin.log 2>&1 & origin=$!
trap 'kill $up $origin' EXIT
sleep 1; oport=$(grep -o 'port [0-9]*' origin.log | cut -d' ' -f2 || true)
cli cert add --cert chain.pem --key leaf.key --name scan
cli route add localhost "http://127.0.0.1:${oport:-9}" --tls upload --certificate scan --hsts 31536000 \
  --response-header 'X-Frame-Options: DENY' --response-header 'X-Content-Type-Options: nosniff' \
  --response-header "Content-Security-Policy: default-src 'self'" --response-header 'Referrer-Policy: no-referrer'
sleep 1
echo "== sslyze"; "$sslyze" --mozilla_config intermediate --certinfo_ca_file root.pem --certinfo --json_out sslyze.json "localhost:$port" >sslyze.txt 2>&1 || true
tail -30 sslyze.txt
echo "== testssl"; (yes || true) | testssl --quiet --color 0 --warnings off --add-ca root.pem --jsonfile testssl.json "localhost:$port" >testssl.txt 2>&1 || true
python3 - <<'P'
import json
for f in json.load(open("testssl.json")):
    if f["severity"] not in ("OK","INFO"): print(f["severity"], f["id"], f["finding"])
P
