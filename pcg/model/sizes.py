"""Sizes and limits that more than one part counts with.

Those that `datapath_c/include/pcgdp.h` also names are compared with it by a test.
"""

ETHERNET_LEN = 14
GENEVE_OPTIONS_MAX = 252  # RFC 8926 section 3.4: 6 bits of 4-byte words
OPTION_LEN = 8  # ours, class 0x0104 type 0x80: 4 bytes header and 4 bytes data

FRAME_MAX = 9216  # bytes of the longest frame carried, Ethernet header included
POOL_MAX = 16  # public addresses that one NAT rule draws from
PUBLIC_ADDRESSES_MAX = 65_535
NAT_RULES_MAX = 65_535
VRFS_MAX = 1_048_576
NICS_MAX = 4  # ports of one datapath
PATH_MAX = 255  # bytes of the arena's path
RULE_RECORDS_MAX = 4096  # that one rule may multiply out to: of NAT, all its lists; else, ports
GROUP_MEMBERS_MAX = 65_536  # of one group, or of one list of a firewall rule
INTERFACE_NAME_MAX = 15  # bytes; IFNAMSIZ with the final zero is 16
IPC_PATH_MAX = 107  # bytes; sockaddr_un.sun_path with the final zero is 108


def underlay_overhead(outer_ip: int, options_len: int = 0) -> int:
    """Bytes an inner IP packet grows by on its way onto the underlay.

    Shape   outer IP 20|40 + UDP 8 + Geneve 8 + options + inner Ethernet 14
    Units   bytes, counted against the underlay link's IP MTU (the outer Ethernet
            header is not part of an MTU, the inner one is payload and is)
    Args    outer_ip     4 or 6
            options_len  0..252, a multiple of 4
    Raises  ValueError   any other value: the header could not encode it
    Source  RFC 8926 section 3.4: Opt Len is 6 bits, in 4-byte words

    >>> underlay_overhead(outer_ip=4)
    50
    >>> underlay_overhead(outer_ip=6, options_len=8)
    78
    """
    if outer_ip not in (4, 6):
        raise ValueError(f"outer_ip is 4 or 6, not {outer_ip}")
    if not 0 <= options_len <= GENEVE_OPTIONS_MAX or options_len % 4:
        raise ValueError(f"options_len is 0..252 in steps of 4, not {options_len}")
    return (20 if outer_ip == 4 else 40) + 8 + 8 + options_len + ETHERNET_LEN


def overlay_mtu(underlay_mtu: int, outer_ip: int = 4, options_len: int = OPTION_LEN) -> int:
    """Largest inner IP packet, in bytes, that fits an underlay link whole.

    >>> overlay_mtu(9001)
    8943
    """
    return underlay_mtu - underlay_overhead(outer_ip, options_len)
