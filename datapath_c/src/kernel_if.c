// SPDX-License-Identifier: Apache-2.0
// kernel_if.c - see kernel_if.h. One ioctl each; none needs a privilege.

#include "kernel_if.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int ask(const struct nic *nic, unsigned long what, struct ifreq *ifr, void *data)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -errno;
	memset(ifr, 0, sizeof(*ifr));
	memcpy(ifr->ifr_name, nic->name, sizeof(nic->name));
	if (data)
		ifr->ifr_data = data;
	rc = ioctl(fd, what, ifr) ? -errno : 0;
	close(fd);
	return rc;
}

// An interface that was deleted and made again has the name, but not the sockets.
bool kernel_if_up(struct nic *nic)
{
	struct ifreq ifr;

	if (ask(nic, SIOCGIFINDEX, &ifr, NULL) || (uint32_t)ifr.ifr_ifindex != nic->ifindex)
		return false;
	return !ask(nic, SIOCGIFFLAGS, &ifr, NULL) && (ifr.ifr_flags & IFF_UP) && (ifr.ifr_flags & IFF_RUNNING);
}

int kernel_if_facts(struct nic *nic)
{
	struct ifreq ifr;
	int rc = ask(nic, SIOCGIFINDEX, &ifr, NULL);

	if (rc)
		return rc;
	nic->ifindex = (uint32_t)ifr.ifr_ifindex;
	rc = ask(nic, SIOCGIFHWADDR, &ifr, NULL);
	memcpy(nic->mac, ifr.ifr_hwaddr.sa_data, 6);
	if (!rc)
		rc = ask(nic, SIOCGIFMTU, &ifr, NULL);
	nic->mtu = (uint32_t)ifr.ifr_mtu;
	return rc ? rc : nic->mtu > PCGDP_FRAME_MAX - ETH_HLEN_ ? -EMSGSIZE : 0;
}

void kernel_if_queues(const struct nic *nic, uint32_t *rx, uint32_t *tx)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq ifr;

	*rx = *tx = 1;
	if (ask(nic, SIOCETHTOOL, &ifr, &channels))
		return;
	*rx = channels.rx_count + channels.combined_count;
	*tx = channels.tx_count + channels.combined_count;
}

const char *kernel_if_mend(int rc)
{
	if (rc == -ENODEV || rc == -ENXIO)
		return "no such interface; `ip link` lists those of this network namespace";
	if (rc == -EPERM || rc == -EACCES)
		return "not permitted; run it as root, or with CAP_NET_RAW";
	return strerror(-rc);
}
