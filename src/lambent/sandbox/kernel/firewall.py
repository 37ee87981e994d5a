"""What a sandbox may reach, as nftables rules: reviewed data.

All sandboxes of a server hang on one router, a network namespace of its own.  ``ROUTER`` is its
rule set, complete before the first link comes; no rule is per sandbox.  ``HOST`` is what root adds
on the host, once for all servers there, and touches nothing but interfaces named ``lambent*``.
"""

from __future__ import annotations

from typing import Sequence

# Where a sandbox finds its gateway and its name server; link-local, as on AWS, so that it collides
# with no real network: such addresses are never reachable through the router.
GATEWAY = "169.254.100.1"
NEVER = (
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "192.0.0.0/24",
    "224.0.0.0/3",
)
# Reachable only where the setting function_network_allow opens them.
PRIVATE = (
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "198.18.0.0/15",
)
# Of one sandbox: connections at a time, DNS questions a second.
CONNECTIONS = 1024
QUESTIONS = 200

_ROUTER = """
table ip lambent {
  set never { type ipv4_addr; flags interval; auto-merge; elements = { %(never)s } }
  set private { type ipv4_addr; flags interval; auto-merge; elements = { %(private)s } }
  set allowed { type ipv4_addr; flags interval; auto-merge; }
  set host { type ipv4_addr; }
  set connections { type ipv4_addr; size 65535; flags dynamic; }
  set questions { type ipv4_addr; size 65535; flags dynamic; timeout 10s; }
  chain prerouting {
    type filter hook prerouting priority raw; policy accept;
    iifname "s*" fib saddr . iif oif missing drop
  }
  chain input {
    type filter hook input priority filter; policy drop;
    iifname "s*" ip daddr %(gateway)s udp dport 53 add @questions \\
      { ip saddr limit rate over %(questions)d/second burst %(questions)d packets } drop
    iifname "s*" ip daddr %(gateway)s meta l4proto { tcp, udp } th dport 53 accept
    iifname "s*" reject with icmp type admin-prohibited
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    iifname "uplink" oifname "s*" ct state established,related accept
    iifname "s*" oifname "uplink" jump leaving
    iifname "s*" reject with icmp type admin-prohibited
  }
  chain leaving {
    ip daddr @never reject with icmp type admin-prohibited
    ip daddr @host reject with icmp type admin-prohibited
    ip daddr @private ip daddr != @allowed reject with icmp type admin-prohibited
    tcp dport 25 reject with icmp type admin-prohibited
    ct state new add @connections { ip saddr ct count over %(connections)d } \\
      reject with icmp type admin-prohibited
    accept
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname "uplink" masquerade
  }
}
"""
HOST = """
table ip lambent
delete table ip lambent
table ip lambent {
  chain input {
    type filter hook input priority filter; policy accept;
    iifname "lambent*" reject with icmp type admin-prohibited
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname "lambent*" tcp flags syn tcp option maxseg size set rt mtu
    iifname != "lambent*" oifname "lambent*" ct state established,related accept
    oifname "lambent*" drop
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr %s oifname != "lambent*" masquerade
  }
}
"""
HOST_GONE = "delete table ip lambent\n"


def _elements(name: str, values: Sequence[str]) -> str:
    return "add element ip lambent %s { %s }\n" % (name, ", ".join(values)) if values else ""


def router(allowed: Sequence[str]) -> str:
    """The router's rules; allowed: networks within PRIVATE."""
    rules = _ROUTER % {
        "never": ", ".join(NEVER),
        "private": ", ".join(PRIVATE),
        "gateway": GATEWAY,
        "questions": QUESTIONS,
        "connections": CONNECTIONS,
    }
    return rules + _elements("allowed", allowed)


def host_addresses(addresses: Sequence[str]) -> str:
    """For the router: which addresses are this host's own."""
    return "flush set ip lambent host\n" + _elements("host", addresses)
