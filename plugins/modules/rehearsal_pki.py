# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rehearsal_pki
short_description: Certificates and kubeconfigs of a rehearsal cluster
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Keeps a certificate authority, the certificates it signs, the key pair of service account tokens and kubeconfigs.
  - A certificate is renewed when it is missing, unreadable, about to expire, or says something else than asked for.
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed, by name; keys are never shown.
    support: full
options:
  certificates:
    description: The certificates to keep. Each is the two files C(<name>.crt) and C(<name>.key) in O(folder).
    type: list
    elements: dict
    default: []
    suboptions:
      addresses:
        description: IP addresses that a server with this certificate has.
        type: list
        elements: str
        default: []
      common_name:
        description: The user name in Kubernetes.
        type: str
        required: true
      hosts:
        description: Host names that a server with this certificate has.
        type: list
        elements: str
        default: []
      name:
        description: The name of the files.
        type: str
        required: true
      organization:
        description: The group in Kubernetes.
        type: str
        default: ""
  cluster:
    description: The name of the cluster and of the context in kubeconfigs.
    type: str
    required: true
  folder:
    description: Where keys and certificates are kept.
    type: path
    required: true
  kubeconfigs:
    description: The kubeconfigs to keep, each readable by its owner alone.
    type: list
    elements: dict
    default: []
    suboptions:
      certificate:
        description: The name of the certificate in O(certificates).
        type: str
        required: true
      inherit_owner:
        description: Give the file to the owner of the nearest folder that was there before.
        type: bool
        default: false
      path:
        description: The file.
        type: path
        required: true
      server:
        description: The URL of the API server. The module's O(server) if not set.
        type: str
  server:
    description: The URL of the API server.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Keep the certificate of an administrator
  llmd.wide_ep.rehearsal_pki:
    cluster: local
    folder: /var/lib/llmd-wide-ep/local/cluster/pki
    server: https://10.201.0.2:6443
    certificates:
      - name: admin
        common_name: rehearsal-admin
        organization: system:masters
    kubeconfigs:
      - path: /var/lib/llmd-wide-ep/local/admin.kubeconfig
        certificate: admin
"""

RETURN = r"""
renewed:
  description: Why each renewed certificate was renewed, by name.
  type: dict
  returned: always
  sample: {admin: missing or unreadable}
files:
  description: Other files that were written.
  type: list
  elements: str
  returned: always
"""

import datetime
import pathlib
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.llmd.wide_ep.plugins.module_utils import _rehearsal_pki as pki
from ansible_collections.llmd.wide_ep.plugins.module_utils._rehearsal_files import Wanted, ensure

CERTIFICATE = {
    "name": {"type": "str", "required": True},
    "common_name": {"type": "str", "required": True},
    "organization": {"type": "str", "default": ""},
    "addresses": {"type": "list", "elements": "str", "default": []},
    "hosts": {"type": "list", "elements": "str", "default": []},
}
KUBECONFIG = {
    "path": {"type": "path", "required": True},
    "certificate": {"type": "str", "required": True},
    "server": {"type": "str"},
    "inherit_owner": {"type": "bool", "default": False},
}
ARGUMENTS: dict[str, t.Any] = {
    "certificates": {"type": "list", "elements": "dict", "default": [], "options": CERTIFICATE},
    "cluster": {"type": "str", "required": True},
    "folder": {"type": "path", "required": True},
    "kubeconfigs": {"type": "list", "elements": "dict", "default": [], "options": KUBECONFIG},
    "server": {"type": "str", "required": True},
}


class PkiKeeper:
    """Reads what is there, decides, writes."""

    def __init__(self, module: AnsibleModule) -> None:
        self.check_mode: bool = module.check_mode
        self.folder = pathlib.Path(module.params["folder"])
        self.cluster: str = module.params["cluster"]
        self.server: str = module.params["server"]
        self.requests = [
            pki.Request(
                item["name"], item["common_name"], item["organization"], tuple(item["addresses"]), tuple(item["hosts"])
            )
            for item in module.params["certificates"]
        ]
        self.kubeconfigs: list[dict[str, t.Any]] = module.params["kubeconfigs"]
        self.now = datetime.datetime.now(datetime.UTC)
        self.renewed: dict[str, str] = {}
        self.files: list[Wanted] = []

    def stored(self, name: str) -> pki.Pair | None:
        return pki.load_pair(pki.read(self.folder / f"{name}.key"), pki.read(self.folder / f"{name}.crt"))

    def keep(self, name: str, pair: pki.Pair) -> None:
        self.files.append(Wanted(self.folder / f"{name}.key", pair.key_pem(), 0o600))
        self.files.append(Wanted(self.folder / f"{name}.crt", pair.certificate_pem(), 0o644))

    def authority(self) -> pki.Pair:
        pair = self.stored("ca")
        if pair is None or pki.expires_soon(pair, self.now):
            self.renewed["ca"] = "missing or unreadable" if pair is None else "expires soon"
            pair = pki.make_ca(f"{self.cluster}-ca", self.now)
            self.keep("ca", pair)
        return pair

    def leaf(self, request: pki.Request, authority: pki.Pair) -> pki.Pair:
        pair = self.stored(request.name)
        reason = pki.reason_to_renew(pair, request, authority, self.now)
        if reason or pair is None:
            self.renewed[request.name] = reason
            pair = pki.make_leaf(request, authority, self.now)
            self.keep(request.name, pair)
        return pair

    def token_keys(self) -> None:
        key = pki.load_key(pki.read(self.folder / "sa.key"))
        if key is None:
            key = pki.new_key()
            self.files.append(Wanted(self.folder / "sa.key", pki.private_pem(key), 0o600))
        self.files.append(Wanted(self.folder / "sa.pub", pki.public_pem(key), 0o644))

    def run(self) -> dict[str, t.Any]:
        authority = self.authority()
        pairs = {request.name: self.leaf(request, authority) for request in self.requests}
        self.token_keys()
        for item in self.kubeconfigs:
            pair = pairs[item["certificate"]]
            user = pair.certificate.subject.get_attributes_for_oid(pki.NameOID.COMMON_NAME)[0].value
            content = pki.kubeconfig(
                item["server"] or self.server,
                f"rehearsal-{self.cluster}",
                str(user),
                authority.certificate_pem(),
                (pair.key_pem(), pair.certificate_pem()),
            )
            self.files.append(Wanted(pathlib.Path(item["path"]), content.encode(), 0o600, item["inherit_owner"]))
        written = [str(wanted.path) for wanted in ensure(self.files, self.check_mode)]
        after = "".join(f"{name}: {reason}\n" for name, reason in self.renewed.items())
        diff = {"before": "", "after": after + "".join(f"{path}\n" for path in written)}
        return {"changed": bool(written), "renewed": self.renewed, "files": written, "diff": diff}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    if pki.CRYPTOGRAPHY_IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("cryptography"), exception=pki.CRYPTOGRAPHY_IMPORT_ERROR)
    try:
        module.exit_json(**PkiKeeper(module).run())
    except OSError as error:
        module.fail_json(msg=f"cannot keep certificates: {error}")


if __name__ == "__main__":
    main()
