#!/usr/bin/env python3
"""Rewrites openssl.json: the signatures of cases.json, made by the openssl program."""

import base64
import json
import pathlib
import subprocess

HERE = pathlib.Path(__file__).parent


def openssl(arguments, data):
    return subprocess.run(["openssl", "dgst", *arguments], input=data.encode(), capture_output=True, check=True).stdout


def string_to_sign(case):
    if case["kind"] == "access-token":
        return f"{case['client_id']}|{case['timestamp']}"
    digest = openssl(["-sha256", "-binary"], case["minified"]).hex()
    token = [case["token"]] if case["kind"] == "transaction" else []
    return ":".join([case["method"], case["path"], *token, digest, case["timestamp"]])


def signature(case, secret):
    if case["kind"] == "transaction":
        arguments = ["-sha512", "-mac", "HMAC", "-macopt", f"hexkey:{secret.encode().hex()}", "-binary"]
    else:
        key = {"access-token": "partner", "tokenless": "bank"}[case["kind"]]
        arguments = ["-sha256", "-sign", str(HERE / f"{key}.key.pem")]
    return base64.b64encode(openssl(arguments, string_to_sign(case))).decode()


def main():
    cases = json.loads((HERE / "cases.json").read_text())
    signatures = {case["name"]: signature(case, cases["client_secret"]) for case in cases["cases"]}
    (HERE / "openssl.json").write_text(json.dumps(signatures, indent=2) + "\n")


if __name__ == "__main__":
    main()
