"""On which pages the arena lies, read from what the kernel says of a process's mappings."""

from pcg.datapath import pages

SMAPS = """\
7f0000000000-7f0002400000 rw-s 00000000 00:1b 1798                       /dev/shm/pcg arena
Size:              36864 kB
KernelPageSize:        4 kB
Rss:               {rss} kB
AnonHugePages:         0 kB
ShmemPmdMapped:    {huge} kB
FilePmdMapped:         0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:       {hugetlb} kB
VmFlags: rd wr sh mr mw me ms dd hg
7f0003000000-7f0003001000 rw-p 00000000 00:00 0
Size:                  4 kB
KernelPageSize:        4 kB
Rss:                   4 kB
ShmemPmdMapped:        4 kB
"""


def seen(rss=20480, huge=0, hugetlb=0):
    return pages.read(SMAPS.format(rss=rss, huge=huge, hugetlb=hugetlb), "/dev/shm/pcg arena")


def test_only_its_own_mapping_counts():
    small = seen()
    assert small == {
        "file": "/dev/shm/pcg arena",
        "bytes": 36 << 20,
        "resident": 20 << 20,
        "huge": 0,
        "page": 4096,
    }
    assert pages.read(SMAPS, "/dev/shm/another") is None


def test_small_pages_are_told_with_the_mend():
    assert pages.are_small(seen())
    told = pages.said(seen())
    assert "20 MiB of it in use, 0 % of that on huge pages, the rest on pages of 4 KiB: " in told
    assert "run-pcg-arena.mount" in told


def test_huge_pages_of_a_tmpfs_and_of_hugetlbfs():
    for one in (seen(huge=20480), seen(rss=0, hugetlb=20480)):
        assert not pages.are_small(one)
        assert pages.said(one).endswith("20 MiB of it in use, 100 % of that on huge pages")


def test_one_that_nothing_was_written_to_is_not_judged():
    assert not pages.are_small(seen(rss=0))


def test_anonymous_memory_has_no_name():
    assert pages.of_this_process("") is None
    assert "not known" in pages.said(None)


def test_a_mapping_of_this_process_is_found(tmp_path):
    import mmap

    link, file = tmp_path / "link", tmp_path / "file"
    file.write_bytes(bytes(8192))
    link.symlink_to(file)
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 8192) as mapped:
        mapped[0] = 1
        found = pages.of_this_process(str(link))
    assert (found["file"], found["bytes"]) == (str(file.resolve()), 8192)
    assert found["resident"] > 0
    assert pages.of_this_process(str(link)) is None
