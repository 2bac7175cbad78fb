"""The trace format, and when a replay maps and clears pages."""

import pytest
import zstandard

from iovirt_sim.replay import Edit, plan_trace
from iovirt_sim.traces import TraceError, read_trace

FRAMES = 1 << 20
DMA = "dma,100,{addr:x},{len},{rw},{gpa:x},12,5,0,0,{reach},{present:x}"


def dma(addr, gpa, *, length=64, rw="R", reach=None, present=None):
    present = 1 << addr // 4096 % 8 if present is None else present
    return DMA.format(addr=addr, len=length, rw=rw, gpa=gpa, reach=reach or length, present=present)


def page_inval(addr, am=0):
    return f"inval,-,{addr:x},{4096 << am},-,-,-,5,P,{am},0,3"


DOMAIN_INVAL = "inval,-,-,-,-,-,-,5,D,-,-,3"


def write(path, *rows):
    path.write_text("".join(f"{n},{n * 1000},{row}\n" for n, row in enumerate(rows)))
    return path


def plan(path, *rows, **options):
    return plan_trace(list(read_trace(write(path, *rows))), frames=FRAMES, **options)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace.csv"


def test_rows_of_every_kind_are_read(path):
    write(path, "dmar_enable,-,-,-,-,-,-,-,1,-,-,-", dma(0x1040, 0x5040, rw="W", length=16),
          page_inval(0x2000, 1), DOMAIN_INVAL, "invwait,-,105203c,-,-,-,-,-,2,2,-,-",
          "msi,100,fee00238,4,W,-,-,-,0,17,34,1:1", "ccinval,300,-,-,-,-,-,-,S,0,-,-")
    rows = list(read_trace(path))
    assert [row.kind for row in rows] == ["dmar_enable", "dma", "inval", "inval", "invwait", "msi",
                                          "ccinval"]
    assert (rows[1].addr, rows[1].gpa, rows[1].write, rows[1].length) == (0x1040, 0x5040, True, 16)
    assert (rows[2].addr, rows[2].length, rows[2].scope) == (0x2000, 8192, "P")
    assert rows[6].rid == 0x300
    assert len(list(read_trace(path, limit=2))) == 2


def test_compressed_trace_is_the_same(path):
    write(path, dma(0x1000, 0x5000))
    packed = path.with_suffix(".csv.zst")
    packed.write_bytes(zstandard.compress(path.read_bytes()))
    assert list(read_trace(packed)) == list(read_trace(path))


@pytest.mark.parametrize("row, message", [
    ("dma,100", r"line must have 14 fields, not 4"),
    ("what,-,-,-,-,-,-,-,-,-,-,-", r"kind must be one of ccinval, .*, not 'what'"),
    (dma(0x1000, 0x5000).replace("100", "xyz", 1), r"rid must be a number in lower-case.*'xyz'"),
    (dma(0x1000, 0x5000).replace("100", "10000", 1), r"rid must be less than 0x10000, not '10000'"),
    (dma(0x1ff0, 0x5ff0), r"len must be 1 to 16, not to cross a page of 4096 bytes, not '64'"),
    (dma(0x1000, 0x5000, rw="X"), r"rw must be R or W, not 'X'"),
    (dma(0x1000, 0x5004), r"gpa must be at offset 0x0 of its page, like addr, not '5004'"),
    (dma(0x1000, 0x5000).replace(",12,", ",21,"), r"lg_psz must be 12"),
    (dma(0x1000, 0x5000, reach=5), r"p2 must be at least len, 64, not '5'"),
    (dma(0x1000, 0x5000, present=1), r"p3 must be a set that has page 1"),
    ("inval,-,1800,4096,-,-,-,5,P,0,0,3", r"addr must be a multiple of 4096, not '1800'"),
    ("inval,-,1000,4096,-,-,-,5,P,1,0,3", r"len must be 8192, which p1 says, not '4096'"),
    ("inval,-,1000,4096,-,-,-,5,X,1,0,3", r"p0 must be one of G, D, P, not 'X'"),
])
def test_bad_line_is_named(path, row, message):
    write(path, dma(0x1000, 0x5000), row)
    with pytest.raises(TraceError, match=r"trace\.csv, line 2: " + message):
        list(read_trace(path))


def test_bad_file_is_named(path, tmp_path):
    with pytest.raises(TraceError, match="file must be readable"):
        list(read_trace(path))
    path.write_text("")
    with pytest.raises(TraceError, match="file must have at least one line"):
        list(read_trace(path))
    path.write_text("0,0,mark,-,-,-,-,-,-,-,1,-,-,-\n2,0,mark,-,-,-,-,-,-,-,1,-,-,-\n")
    with pytest.raises(TraceError, match="line 2: seq must be 1, counting from 0, not '2'"):
        list(read_trace(path))
    packed = tmp_path / "trace.csv.zst"
    packed.write_bytes(b"not compressed")
    with pytest.raises(TraceError, match="file must be zstd-compressed"):
        list(read_trace(packed))


def test_page_is_mapped_at_its_first_evidence(path):
    result = plan(path, dma(0x1000, 0x5000, present=0b110), dma(0x2000, 0x9000, present=0b110))
    assert result.edits == {0: [Edit(5, 1, 5), Edit(5, 2, 9)]}
    assert result.invented == 0


def test_pages_that_a_row_goes_on_to_are_mapped(path):
    result = plan(path, dma(0x7000, 0x5000, length=4096, reach=8192), dma(0x8000, 0x6000))
    assert result.edits == {0: [Edit(5, 7, 5), Edit(5, 8, 6)]}


def test_neighbour_that_no_row_tells_of_gets_a_frame_of_its_own(path):
    result = plan(path, dma(0x1000, 0x5000, present=0b1111))
    assert [edit.frame for edit in result.edits[0]] == [5, FRAMES - 1, FRAMES - 2, FRAMES - 3]
    assert result.invented == 3


def test_page_invalidation_ends_the_mapping(path):
    result = plan(path, dma(0x1000, 0x5000), page_inval(0x1000), dma(0x1000, 0x6000))
    assert result.edits == {0: [Edit(5, 1, 5)], 1: [Edit(5, 1, None)], 2: [Edit(5, 1, 6)]}


def test_presence_that_ends_clears_the_entry(path):
    result = plan(path, dma(0x1000, 0x5000, present=0b110), dma(0x1000, 0x5000, present=0b010),
                  dma(0x2000, 0x6000, present=0b110))
    assert result.edits == {0: [Edit(5, 1, 5), Edit(5, 2, 6)], 1: [Edit(5, 2, None)],
                            2: [Edit(5, 2, 6)]}


def test_domain_invalidation_keeps_what_comes_back(path):
    result = plan(path, dma(0x1000, 0x5000), DOMAIN_INVAL, dma(0x1000, 0x5000))
    assert result.edits == {0: [Edit(5, 1, 5)]}


def test_domain_invalidation_ends_what_comes_back_elsewhere_or_not_at_all(path):
    result = plan(path, dma(0x1000, 0x5000), dma(0x9000, 0x8000), DOMAIN_INVAL, DOMAIN_INVAL,
                  dma(0x1000, 0x6000))
    assert result.edits == {0: [Edit(5, 1, 5)], 1: [Edit(5, 9, 8)],
                            2: [Edit(5, 1, None), Edit(5, 9, None)], 4: [Edit(5, 1, 6)]}


def test_neighbour_seen_after_a_flush_takes_the_frame_of_its_next_use(path):
    """It may not be cached with the old frame, because no invalidation follows."""
    result = plan(path, dma(0x1000, 0x5000), DOMAIN_INVAL, dma(0x2000, 0x7000, present=0b110),
                  dma(0x1000, 0x6000, present=0b110))
    assert result.edits[1] == [Edit(5, 1, None)]
    assert Edit(5, 1, 6) in result.edits[2] and 3 not in result.edits


def test_translation_may_not_change_without_invalidation(path):
    with pytest.raises(TraceError, match="gpa must be in frame 0x5 until IOVA 0x1000 is invalid"):
        plan(path, dma(0x1000, 0x5000), dma(0x1000, 0x6000))


def test_lead_maps_earlier_but_not_before_the_invalidation(path):
    rows = [dma(0x1000, 0x5000), dma(0x9000, 0x8000), page_inval(0x1000), dma(0x9000, 0x8000),
            dma(0x1000, 0x6000)]
    result = plan(path, *rows, lead=3)
    assert result.edits[0] == [Edit(5, 1, 5), Edit(5, 9, 8)]
    assert result.edits[3] == [Edit(5, 1, 6)]


def test_guest_address_must_leave_room_for_invented_frames(path):
    with pytest.raises(TraceError, match="gpa must be below 0x80000000 for this configuration"):
        plan(path, dma(0x1000, 0x8000_0000))
