"""A GitLab-flavoured forge on loopback: real git, the API Lockgate uses, and pages a person can act on.

No GitLab can run in the tests, so this is a stand-in. `tests/contract` holds it to GitLab's own published contract.
"""

from sandbox.forge.server import Ports, SandboxForge

__all__ = ["Ports", "SandboxForge"]
