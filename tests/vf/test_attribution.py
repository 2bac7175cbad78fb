import random

import pytest

from iovirt.vf.attribution import Attribution
from iovirt_sim.drivers.sharing_words import KINDS

from .attribution_bench import Bench, random_requests, request
from .attribution_model import (
    ADDRESS,
    DRAIN,
    FREEZE,
    KEY,
    OFF,
    PASID,
    QUARANTINE,
    RID,
    RUN,
    Guest,
    Model,
    Shared,
)
from .guest_bench import random_guest


@pytest.mark.parametrize("parameters, message", [
    ({"functions": 0}, r"^Number of functions must be an integer in 1\.\.4, not 0$"),
    ({"functions": 5}, r"^Number of functions must be an integer in 1\.\.4, not 5$"),
    ({"reads": 1}, r"^Number of reads must be an integer in 2\.\.256, not 1$"),
    ({"writes": 512}, r"^Number of writes must be an integer in 2\.\.256, not 512$"),
    ({"depth": 1}, r"^Depth must be an integer of at least 2, not 1$"),
])
def test_wrong_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        Attribution(**{"id_width": 4, "reads": 8, "writes": 8, "functions": 1, **parameters})


def random_model(seed, **layout):
    """Return functions of all modes and a few guests, some of them broken."""
    rng = random.Random(seed)
    functions = [
        Shared(segment=1, rid=0x100, prp_list=3, typed_list=5, range_list=6),
        Shared(RID, rid=0x210, first_guest=8, count=5, stride_log2=rng.randrange(4)),
        Shared(PASID, segment=2, rid=0x300, first_guest=16, count=4, pasid=0xffffa),
        Shared(segment=1, rid=0x108),
    ]
    guests = {}
    for colour in (1, 2, 3, 4, 5, 6, *range(8, 12), 16, 17, 18):
        entry = random_guest(rng)
        index = {0: 0, 1: 1, 2: 2}[colour // 8] if rng.random() < .9 else 3
        state = rng.choice((RUN, RUN, RUN, FREEZE, DRAIN, OFF, QUARANTINE))
        guests[colour] = Guest(type(entry)(**{**vars(entry), "function": index}), state,
                               rng.randrange(2) if state != RUN else 0,
                               rng.choice((0, 0, 0, 0, 0, 0, 0, 1, 2)))
    guests[1].state, guests[1].broken = RUN, 0
    return Model(functions, guests, **layout)


def check(bench):
    """Compare all that an attribution did with the model."""
    model, asked = bench.model, 0
    contexts, owners, denials, frozen = [], [], [], []
    assert sorted(o.id for o, _ in bench.seen) == list(range(len(bench.requests)))
    for o, share in bench.seen:
        sent = bench.requests[o.id]
        verdict, answer = model.judge(sent), None
        if verdict.ring:
            question, answer = bench.questions[asked], bench.answers[asked]
            assert {name: question[name] for name in verdict.ring} == verdict.ring
            asked += 1
        denied = bool(verdict.cause or (answer and not answer["ok"]))
        check_request(model, sent, verdict, denied, o)
        if not sent["bypass"]:
            check_share(model, sent, verdict, answer, share)
            if verdict.shared:
                owners.append((sent["write"], sent["slot"], verdict.guest, sent["device_id"]))
                if not sent["write"] and model.read(verdict, sent, answer)[0]:
                    contexts.append((sent["slot"], context(model, sent, verdict, answer, denied)))
        if denied:
            cause = verdict.cause or ADDRESS
            denials.append((cause, verdict.guest, sent["device_id"], sent["iova"]))
            guest = model.guests.get(verdict.guest)
            if cause != KEY and (guest.broken or guest.state == RUN or not guest.fatal):
                frozen.append(verdict.guest)
    assert asked == len(bench.questions)
    assert bench.owners == owners and bench.frozen == frozen
    assert [(slot, {name: value for name, value in fields(seen) if name in wanted})
            for (slot, seen), (_, wanted) in zip(bench.contexts, contexts, strict=True)] == contexts
    seen = [(d.cause.value, d.colour, d.device_id, d.address) for d in bench.denials]
    assert len(seen) + bench.lost == len(denials)
    if not bench.lost:
        assert seen == denials
    return denials


def fields(struct):
    """Yield (name, number) of a sampled structure."""
    for name in ("kind", "colour", "key", "template", "size_log2", "shift", "replace", "blank",
                 "first", "last", "allow"):
        yield name, getattr(struct[name], "value", struct[name])


def check_request(model, sent, verdict, denied, o):
    assert (o.write, o.source) == (sent["write"], sent["source"])
    assert (o.contain, o.shared) == (denied, verdict.shared)
    assert o.bypass == (sent["bypass"] or denied)
    if denied:
        return
    names = ("device_id", "iova", "pv", "pid", "priv", "exec", "at")
    wanted = {name: sent[name] for name in names}
    if verdict.own:
        iova = verdict.parts["offset"] if verdict.parts else sent["iova"]
        wanted = dict.fromkeys(names, 0) | {"device_id": model.device(verdict), "iova": iova}
    assert {name: o[name] for name in names} == wanted


def check_share(model, sent, verdict, answer, share):
    assert share.shared == verdict.shared
    if sent["write"]:
        patch_id = answer["patch_id"] if answer else 0
        assert share.patch_id == patch_id
        if patch_id:
            pair = verdict.ring["pair"] - model.guests[verdict.guest].entry.first_pair
            assert share.id == (pair + 1) % 1024
    else:
        patch, size, phase = model.read(verdict, sent, answer)
        assert share.patch == patch
        if patch:
            assert (share.size_log2, share.phase) == (size, phase)


def context(model, sent, verdict, answer, denied):
    """Return what the patcher has to know. If all is poison, it need not know how to patch."""
    ring, known = verdict.parts["kind"] == KINDS["ring"], answer and answer["valid"]
    first = sent["iova"] >> 2 & 1023
    made = {"kind": verdict.parts["kind"], "colour": verdict.parts["colour"],
            "key": verdict.parts["key"], "template": 0 if ring else model.template(verdict),
            "size_log2": model.read(verdict, sent, answer)[1], "shift": 0,
            "replace": denied, "blank": int(ring and not known), "first": first,
            "last": first + sent["length_dw"] - 1, "allow": (1 << 64) - 1}
    unknown = ("template", "shift", "allow")
    if made["blank"]:
        return {name: value for name, value in made.items() if name not in unknown}
    if answer:
        made |= {name: answer[name] for name in unknown}
    return made


@pytest.mark.parametrize("seed, stall, layout, more", [
    (1, 0, {}, {}),
    (2, 1, {}, {"ring_wait": 20, "hold": .2}),
    (3, 1, {"offset_bits": 32, "key_bits": 16}, {"ring_wait": 6, "depth": 3}),
    (4, 0, {"offset_bits": 36, "key_bits": 0}, {"ring_wait": 9, "link_order": True}),
    (5, 1, {"offset_bits": 43, "key_bits": 9}, {"link_order": True, "hold": .1}),
])
def test_random_requests_are_attributed_as_the_model_does(seed, stall, layout, more):
    model = random_model(seed, **layout)
    link  = more.get("link_order", False)
    requests = random_requests(model, random.Random(seed), 400, link=link)
    bench = Bench(model, requests, seed=seed, stall=stall, **more).run()
    causes = [cause for cause, *_ in check(bench)]
    assert len(causes) > 40 and len(set(causes)) == 3 and bench.frozen
    last = {}
    for o, _ in bench.seen:
        assert last.get(o.source, -1) < o.id
        last[o.source] = o.id


def one_guest(**more):
    """Return a model with one function, and guest 1 on it."""
    entry = random_guest(random.Random(7))
    entry = type(entry)(**{**vars(entry), "function": 0, "first_pair": 4})
    return Model([Shared(rid=0x100)], {1: Guest(entry, **more)})


def data_requests(model, count, kind="data", device_id=0x100, **more):
    key = model.guests[1].entry.key & 0xfff
    return [request(n, device_id=device_id, iova=model.addresses.pack(1, kind, n << 12, key=key),
                    **more) for n in range(count)]


def test_data_accesses_take_10_clocks_and_one_goes_per_clock():
    bench = Bench(one_guest(), data_requests(one_guest(), 100)).run()
    check(bench)
    starts, ends = zip(*bench.times.values(), strict=True)
    assert {end - start for start, end in bench.times.values()} == {10}
    assert ends[-1] - ends[0] == 99 and starts[-1] - starts[0] == 99


def test_functions_that_are_not_shared_take_1_clock_while_shared_ones_wait_for_their_ring():
    model = one_guest()
    rings = data_requests(model, 8, "ring")
    others = [request(8 + n, device_id=0x200, iova=n << 40) for n in range(50)]
    bench = Bench(model, rings + others, ring_wait=1000, seed=2).run()
    check(bench)
    assert {end - start for start, end in list(bench.times.values())[8:]} == {1}
    assert [o.id for o, _ in bench.seen][:50] == list(range(8, 58))


def test_rings_are_asked_one_per_clock():
    bench = Bench(one_guest(), data_requests(one_guest(), 100, "ring")).run()
    check(bench)
    ends = [end for _, end in bench.times.values()]
    assert len(bench.questions) == 100 and ends[-1] - ends[0] == 99


def test_a_guest_is_frozen_by_the_denials_under_way_and_then_no_more():
    model = one_guest()
    guard = data_requests(model, 40)
    for made in guard:
        made["iova"] |= 1 << model.addresses.offset_bits
    assert Bench(model, guard).run().frozen == [1] * 40
    model.guests[1].state, model.guests[1].fatal = FREEZE, 1
    bench = Bench(model, guard).run()
    assert bench.frozen == [] and {cause for cause, *_ in check(bench)} == {ADDRESS}


@pytest.mark.parametrize("name, change", [
    ("key", lambda model, made: made.update(iova=made["iova"] ^ 1 << 52)),
    ("guard", lambda model, made: made.update(iova=made["iova"] | 1 << 40)),
    ("manager", lambda model, made: made.update(iova=made["iova"] ^ 1 << 44)),
    ("state", lambda model, made: setattr(model.guests[1], "state", QUARANTINE)),
    ("at", lambda model, made: made.update(at=2)),
    ("at", lambda model, made: made.update(pv=1, pid=5)),
    ("contain", lambda model, made: made.update(iova=made["iova"] | 1 << 40)),
])
def test_each_defence_can_be_switched_off_alone(name, change):
    for off, passes in (("freeze",), False), ((name,), True):
        model = one_guest()
        made, = data_requests(model, 1)
        change(model, made)
        bench = Bench(model, [made], off=off).run()
        (o, _), = bench.seen
        assert o.contain == o.bypass == o.shared == (not passes) or name not in ("contain",)
        assert (o.contain, o.bypass) == (not passes, not passes)
        if passes and name not in ("manager", "contain"):
            assert (o.device_id, o.iova) == (model.guests[1].entry.device_id, 0)
            assert (o.at, o.pv) == (made["at"], made["pv"])
        if passes and name in ("manager", "contain"):
            assert (o.device_id, o.shared) == (0x100, 0)


def test_rings_beyond_the_numbers_of_pairs_are_denied_and_not_asked():
    model = one_guest()
    requests = data_requests(model, 8, "ring")
    for n, made in enumerate(requests):
        made["iova"] |= 1 << 32 + n
    bench = Bench(model, requests).run()
    causes = [cause for cause, *_ in check(bench)]
    assert len(bench.questions) == 1 and causes.count(ADDRESS) >= 7
