#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the lab's DHCP clients run when something happens to their lease. It sets nsx-eth0 of the
# namespace it runs in (dhcpcd has done that itself, but for the MTU), and writes down what it was
# told, one name=value a line. Nothing outside the namespace and the file $1 is touched.
#
#   dhcp_hook.sh FILE udhcpc EVENT | dhclient | dhcpcd
#
# Each client has its own names for events and options; the first part makes them the same.
file=$1 client=$2
case $client in
udhcpc)
	event=$3 length=$mask
	;;
*)
	event=$reason
	ip=$new_ip_address subnet=$new_subnet_mask router=$new_routers
	dns=$new_domain_name_servers domain=$new_domain_name mtu=$new_interface_mtu
	lease=$new_dhcp_lease_time serverid=$new_dhcp_server_identifier
	staticroutes=$new_classless_static_routes length=$new_subnet_cidr
	;;
esac

# dhclient has option 121 as numbers: length, as many bytes of the prefix as count, next hop.
if [ -n "$new_rfc3442_classless_static_routes" ]; then
	set -- $new_rfc3442_classless_static_routes
	while [ $# -gt 4 ]; do
		bits=$1 prefix=
		shift
		for n in 0 8 16 24; do
			if [ "$bits" -gt $n ]; then prefix="$prefix$1." && shift; else prefix="${prefix}0."; fi
		done
		staticroutes="$staticroutes ${prefix%.}/$bits $1.$2.$3.$4"
		shift 4
	done
fi

set_interface() {
	[ -z "$mtu" ] || ip link set nsx-eth0 mtu "$mtu"
	[ "$client" != dhcpcd ] || return 0
	ip addr replace "$ip/$subnet" dev nsx-eth0
	if [ -z "$staticroutes" ]; then
		[ -z "$router" ] || ip route replace default via "${router%% *}"
		return 0
	fi
	set -- $staticroutes # RFC 3442: the router option is not obeyed then
	while [ $# -gt 1 ]; do
		ip route replace "$1" via "$2"
		shift 2
	done
}

case $event in
deconfig | PREINIT)
	[ "$client" = dhcpcd ] || ip addr flush dev nsx-eth0
	ip link set nsx-eth0 up
	;;
bound | renew | BOUND | RENEW | REBIND | REBOOT) set_interface ;;
EXPIRE | RELEASE | STOP | FAIL) [ "$client" = dhcpcd ] || ip addr flush dev nsx-eth0 ;;
nak | leasefail) ;;
*) exit 0 ;;
esac

count=$(grep -s '^count=' "$file")
cat >"$file.new" <<EOF
count=$((${count#count=} + 1))
event=$event
ip=$ip
subnet=$subnet
router=$router
dns=$dns
domain=$domain
mtu=$mtu
lease=$lease
serverid=$serverid
staticroutes=$(echo $staticroutes)
EOF
mv "$file.new" "$file"
