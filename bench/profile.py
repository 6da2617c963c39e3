"""Docker's seccomp profile as an OCI runtime takes it: resolved for the default capabilities."""

import json
import os

from onggi.linux import seccomp, seccomp_compiler
from onggi.linux.seccomp_profile import default_profile
from onggi.runtime import ocifile

CAPABILITIES = frozenset(
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE "
    "SYS_CHROOT KILL AUDIT_WRITE".split()
)


def oci_profile() -> str:
    host = os.uname()
    profile = default_profile()
    version = seccomp.kernel_version(host.release)
    rules = seccomp_compiler.applicable(profile, CAPABILITIES, host.machine, version)
    architectures = seccomp_compiler.architectures(profile, host.machine)
    return json.dumps(ocifile.seccomp_document(profile, rules, architectures))
