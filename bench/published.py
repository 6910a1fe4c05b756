"""What peers were measured to do, on the reference machine (DESIGN section 8): 2.6 GHz, one core,
an inner packet of 46 bytes of UDP, no Geneve option, in memory; the kernel with VXLAN over veth.

Absolute figures of another day, for a picture's scale. `make bench-peers` compares in one run.
"""

VPP, OVS, KERNEL = "VPP 26.06", "Open vSwitch 3.1", "Linux, nftables"
# workload -> peer -> sessions -> cycles per packet
CYCLES = {
    "north": {
        VPP: {1_000: 270, 10_000: 416, 100_000: 894, 1_000_000: 1585},
        OVS: {1_000: 760, 10_000: 1612, 100_000: 2509, 1_000_000: 3147},
        KERNEL: {1_000: 4753, 100_000: 6814, 1_000_000: 8181},
    },
    "south": {
        VPP: {1_000: 231, 100_000: 937, 1_000_000: 1328},
        OVS: {1_000: 653, 100_000: 1804, 1_000_000: 3347},
        KERNEL: {1_000: 4545, 100_000: 8542, 1_000_000: 7917},
    },
    "east": {VPP: {1_000: 251, 1_000_000: 251}, OVS: {1_000: 406, 1_000_000: 566}},
    "mixed": {},
}
# peer -> millions of new sessions a second: outwards, inwards
SETUP = {VPP: (0.69, 1.45), OVS: (0.44, 0.68), KERNEL: (0.27, 0.35)}
