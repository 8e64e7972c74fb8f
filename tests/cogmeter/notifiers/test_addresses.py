"""Addresses of the public internet, and the resolver that returns no others."""

import pytest
from yarl import URL

from cogmeter.notifiers.base import NotifyError
from cogmeter.notifiers.http import Http, HttpResponse, PrivateAddressError, PublicResolver, is_address, is_public


@pytest.mark.parametrize(
    "host",
    ["93.184.216.34", "1.1.1.1", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:1.1.1.1", "64:ff9b::101:101"],
)
def test_public(host):
    assert is_public(host)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.255.255.254",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # where clouds keep their credentials
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "192.0.2.1",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2002:a00:1::",
        "2001:0:0a00:1::",
        "127.1",
        "0127.0.0.1",
        "2130706433",
        "0x7f000001",
        "localhost",
        "",
    ],
)
def test_not_public(host):
    assert not is_public(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "::1", "fe80::1%1"])
def test_a_number_counts_as_an_address(host):
    assert is_address(host)


@pytest.mark.parametrize("host", ["localhost", "example.org", "1.example", "0x7f.1"])
def test_any_other_host_is_a_name(host):
    assert not is_address(host)


async def test_the_resolver_returns_the_addresses_it_checked_and_no_private_one(names):
    inner = names(good_example="1.1.1.1 93.184.216.34", bad_example="1.1.1.1 10.0.0.1")
    resolver = PublicResolver(inner)
    assert [one["host"] for one in await resolver.resolve("good.example", 80)] == ["1.1.1.1", "93.184.216.34"]
    with pytest.raises(PrivateAddressError):
        await resolver.resolve("bad.example", 80)
    assert inner.names == ["good.example", "bad.example"]


def test_a_redirect_from_https_to_http_is_never_followed():
    http = Http("PERFORMANCE_ALERT_WEBHOOK_URL", private_redirects=True)
    with pytest.raises(NotifyError, match="from https to http, which is not followed") as raised:
        http._next(URL("https://a.example/"), HttpResponse(307, {"Location": "http://a.example/"}, b""))
    assert raised.value.permanent


def test_a_redirect_target_loses_its_user_name_and_password():
    there = Http("PERFORMANCE_ALERT_WEBHOOK_URL")._next(
        URL("https://a.example/in?x=1"), HttpResponse(308, {"Location": "https://me:you@b.example/out"}, b"")
    )
    assert str(there) == "https://b.example/out"
