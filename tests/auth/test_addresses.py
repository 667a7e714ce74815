from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from openclaw_twisted.auth.addresses import (
    Authority,
    HostRule,
    OriginRule,
    TrustedProxies,
    client_address,
    parse_authority,
)
from openclaw_twisted.errors import ConfigError, ForbiddenError, InvalidRequestError, MisdirectedError

PROXIES = TrustedProxies(["127.0.0.2", "10.0.0.0/8", "2001:db8:ffff::/48"])
KEY = "gateway.http.endpoints.chatCompletions.allowedOrigins"


def headers(**fields: str | list[str]) -> Headers:
    made = Headers()
    for name, value in fields.items():
        made.setRawHeaders(name.replace("_", "-"), value if isinstance(value, list) else [value])
    return made


class ClientAddressTests(SynchronousTestCase):
    def ip(self, peer: str, **fields: str | list[str]) -> str:
        return str(client_address(peer, headers(**fields), PROXIES).ip)

    def test_right_most_hop_that_is_no_proxy(self):
        cases = {
            "203.0.113.9": "203.0.113.9",
            "6.6.6.6, 203.0.113.9": "203.0.113.9",
            "6.6.6.6, 203.0.113.9, 10.1.2.3": "203.0.113.9",
            "203.0.113.9, , ": "203.0.113.9",
            "203.0.113.9:5123": "203.0.113.9",
            "[2001:db8::1]:5123": "2001:db8::1",
            "2001:db8::1": "2001:db8::1",
            "::ffff:203.0.113.9": "203.0.113.9",
            "10.1.2.3, 10.1.2.4": "10.1.2.3",
        }
        for chain, client in cases.items():
            self.assertEqual(self.ip("127.0.0.2", x_forwarded_for=chain), client, chain)

    def test_header_lines_are_one_list(self):
        self.assertEqual(self.ip("127.0.0.2", x_forwarded_for=["6.6.6.6", "203.0.113.9"]), "203.0.113.9")

    def test_a_hop_that_cannot_be_read_ends_the_search_at_the_last_proxy(self):
        for bad in ("unknown", "_hidden", "1.2.3", "999.1.1.1", "evil.example", "\u0661.2.3.4"):
            self.assertEqual(self.ip("127.0.0.2", x_forwarded_for=f"6.6.6.6, {bad}"), "127.0.0.2", bad)
            self.assertEqual(self.ip("127.0.0.2", x_forwarded_for=f"6.6.6.6, {bad}, 10.9.9.9"), "10.9.9.9")

    def test_forwarded_header(self):
        cases = {
            "for=203.0.113.9;proto=https": "203.0.113.9",
            'for=6.6.6.6, FOR="[2001:db8::1]:4711"; by=10.0.0.1': "2001:db8::1",
            "for=6.6.6.6, proto=https": "127.0.0.2",
            "for=6.6.6.6;for=7.7.7.7": "127.0.0.2",
            "for=unknown": "127.0.0.2",
        }
        for value, client in cases.items():
            self.assertEqual(self.ip("127.0.0.2", forwarded=value), client, value)

    def test_two_headers_that_disagree_are_both_ignored(self):
        same = self.ip("127.0.0.2", x_forwarded_for="203.0.113.9", forwarded="for=203.0.113.9")
        other = self.ip("127.0.0.2", x_forwarded_for="203.0.113.9", forwarded="for=6.6.6.6")
        self.assertEqual((same, other), ("203.0.113.9", "127.0.0.2"))

    def test_x_real_ip_is_believed_only_where_it_is_switched_on(self):
        request = headers(x_real_ip="203.0.113.9")
        believing = TrustedProxies(["127.0.0.2"], real_ip=True)
        self.assertEqual(str(client_address("127.0.0.2", request, believing).ip), "203.0.113.9")
        self.assertEqual(str(client_address("127.0.0.2", request, PROXIES).ip), "127.0.0.2")

    def test_untrusted_peers_are_not_believed(self):
        for name in ("x_forwarded_for", "forwarded", "x_real_ip", "x_forwarded_host", "x_forwarded_proto"):
            for peer in ("127.0.0.3", "203.0.113.9"):
                client = client_address(peer, headers(**{name: "127.0.0.1"}), PROXIES)
                self.assertEqual(str(client.ip), peer)
                self.assertTrue(client.unattributed)
                self.assertFalse(client.local or client.proxied)

    def test_local_is_a_direct_program_on_this_machine(self):
        for peer in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
            self.assertTrue(client_address(peer, headers(), PROXIES).local, peer)
        for peer in ("127.0.0.2", "10.1.1.1", "203.0.113.9", "0.0.0.0", "", "fe80::1%eth0"):
            self.assertFalse(client_address(peer, headers(), PROXIES).local, peer)

    def test_a_browser_is_never_local(self):
        for name in ("origin", "cookie", "sec_fetch_site", "sec_fetch_mode", "sec_fetch_dest"):
            self.assertFalse(client_address("127.0.0.1", headers(**{name: "x"}), PROXIES).local, name)

    def test_a_proxied_client_is_never_local(self):
        client = client_address("127.0.0.2", headers(x_forwarded_for="127.0.0.1"), PROXIES)
        self.assertEqual(str(client.ip), "127.0.0.1")
        self.assertEqual(str(client.peer), "127.0.0.2")
        self.assertTrue(client.proxied)
        self.assertFalse(client.local or client.unattributed)

    def test_failures_are_counted_by_address_and_by_64(self):
        def network(peer: str) -> str:
            return client_address(peer, headers(), PROXIES).network

        self.assertEqual(network("203.0.113.9"), "203.0.113.9")
        self.assertEqual(network("::ffff:203.0.113.9"), "203.0.113.9")
        self.assertEqual(network("2001:db8:1:2::3"), network("2001:db8:1:2:ffff::1"))
        self.assertNotEqual(network("2001:db8:1:2::3"), network("2001:db8:1:3::3"))

    def test_who_hides_behind_a_proxy_is_counted_apart_from_its_machine(self):
        def network(peer: str, **fields: str) -> str:
            return client_address(peer, headers(**fields), PROXIES).network

        self.assertEqual(network("127.0.0.2"), "127.0.0.2")
        for fields in (
            {"x_forwarded_for": "203.0.113.9", "forwarded": "for=6.6.6.6"},
            {"x_forwarded_for": "unknown"},
            {"x_forwarded_for": "127.0.0.2"},
            {"x_forwarded_proto": "https"},
        ):
            self.assertEqual(network("127.0.0.2", **fields), "whoever is behind 127.0.0.2")
        self.assertEqual(network("127.0.0.1", x_forwarded_for="6.6.6.6"), "whoever is behind 127.0.0.1")
        self.assertEqual(network("::1", x_forwarded_for="6.6.6.6"), "whoever is behind ::/64")
        for peer in ("127.0.0.2", "203.0.113.9"):
            self.assertEqual(network(peer, x_forwarded_for="203.0.113.9"), "203.0.113.9")

    def test_proxies_that_are_no_network_are_all_named(self):
        error = self.assertRaises(ConfigError, TrustedProxies, ["10.0.0.1", "proxy", "10.0.0.0/99"])
        paths = [problem.path for problem in error.problems]
        self.assertEqual(paths, ["gateway.trustedProxies[1]", "gateway.trustedProxies[2]"])

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.lists(st.sampled_from(["6.6.6.6", "unknown", "127.0.0.1", "10.0.0.9", ""]), max_size=6))
    def test_what_the_client_wrote_never_counts(self, forged: list[str]):
        chain = ", ".join([*forged, "203.0.113.9", "10.0.0.9"])
        self.assertEqual(self.ip("127.0.0.2", x_forwarded_for=chain), "203.0.113.9")


class ParseAuthorityTests(SynchronousTestCase):
    def test_readable(self):
        cases = {
            "LocalHost": Authority("localhost", None, is_ip=False),
            "localhost.:18789": Authority("localhost", 18789, is_ip=False),
            "a_b-c.example.org:": Authority("a_b-c.example.org", None, is_ip=False),
            "127.0.0.1:80": Authority("127.0.0.1", 80, is_ip=True),
            "[::1]:80": Authority("::1", 80, is_ip=True),
            "[2001:DB8:0::1]": Authority("2001:db8::1", None, is_ip=True),
        }
        for text, authority in cases.items():
            self.assertEqual(parse_authority(text), authority, text)

    def test_unreadable(self):
        bad = [
            "",
            ".",
            ":80",
            "a..b",
            "-a",
            "a-",
            "a:b",
            "a:99999",
            "a:0",
            "a:1:2",
            "a b",
            "a\tb",
            "a/b",
            "a?b",
        ]
        bad += [
            "user@a",
            "user:pw@a",
            "http://a",
            "[::1",
            "::1",
            "[127.0.0.1]",
            "[::1%lo]",
            "a" * 64,
            "ä.example",
        ]
        bad += ["a." * 127 + "ab", "a\x00", "a,b", "[::1]x", "*.example.org", "a:+80", "a:\uff18\uff10"]
        for text in bad:
            self.assertIsNone(parse_authority(text), text)

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.text(st.characters(max_codepoint=255), max_size=40))
    def test_any_text_is_read_or_refused(self, text: str):
        authority = parse_authority(text)
        if authority is not None:
            shown = f"[{authority.host}]" if ":" in authority.host else authority.host
            self.assertEqual(parse_authority(shown), authority._replace(port=None))


class HostRuleTests(SynchronousTestCase):
    rule = HostRule(
        ["gw.example.org", "Bücher.Example", "Odd.Example.:8443"], machine_name="Box.Corp.Example."
    )

    def test_ours(self):
        names = ["127.0.0.1", "127.0.0.1:18789", "[::1]:18789", "192.168.1.5", "203.0.113.9", "localhost"]
        names += [
            "LOCALHOST:1",
            "localhost.",
            "openclaw",
            "open_claw:18789",
            "box.local",
            "box.tail1234.ts.net",
        ]
        names += ["gw.example.org", "GW.EXAMPLE.ORG.:443", "box.corp.example", "xn--bcher-kva.example"]
        names += ["odd.example"]
        for name in names:
            self.assertIsNotNone(self.rule.check(headers(host=name)), name)

    def test_foreign_names_are_misdirected(self):
        names = ["evil.example", "evil.example:18789", "localhost.evil.example", "127.0.0.1.evil.example"]
        names += ["xgw.example.org", "gw.example.org.evil.example", "sub.gw.example.org", "evilts.net"]
        names += ["example.local.evil", "127.0.0.1.nip.io", "0x7f.1", "corp.example"]
        for name in names:
            error = self.assertRaises(MisdirectedError, self.rule.check, headers(host=name))
            self.assertIn("gateway.http.allowedHosts", error.message)

    def test_unreadable_doubled_or_missing_is_a_bad_request(self):
        bad: list[list[str]] = [[], ["localhost", "localhost"], ["localhost", "evil.example"], [""]]
        bad += [["localhost@evil.example"], ["evil@localhost"], ["localhost, evil.example"], ["local host"]]
        for values in bad:
            self.assertRaises(InvalidRequestError, self.rule.check, headers(host=values))

    def test_http_1_0_needs_no_host(self):
        self.assertIsNone(self.rule.check(headers(), required=False))
        self.assertRaises(MisdirectedError, self.rule.check, headers(host="evil.example"), required=False)

    def test_without_a_machine_name_nothing_more_is_ours(self):
        self.assertRaises(InvalidRequestError, HostRule().check, headers(host=""))

    def test_entries_that_are_no_host_are_all_named(self):
        error = self.assertRaises(ConfigError, HostRule, ["https://gw.example.org", "ok.example", "a/b"])
        paths = [problem.path for problem in error.problems]
        self.assertEqual(paths, ["gateway.http.allowedHosts[0]", "gateway.http.allowedHosts[2]"])

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(
        st.from_regex(
            r"[a-z0-9.-]{0,20}(localhost|\.local|127\.0\.0\.1|\.ts\.net)\.[a-z]{2,8}", fullmatch=True
        )
    )
    def test_no_prefix_makes_a_public_name_ours(self, name: str):
        if name.endswith((".local", ".ts.net")):
            return
        try:
            HostRule(machine_name="box").check(headers(host=name))
        except (MisdirectedError, InvalidRequestError):
            return
        self.fail(name)


class OriginRuleTests(SynchronousTestCase):
    listed = (
        "https://app.example.org",
        "http://localhost:3000/",
        "vscode-webview://abc",
        "https://b.example:443",
    )
    rule = OriginRule(KEY, [*listed, "*"])
    us = parse_authority("gw.example.org:18789")

    def check(self, *origins: str, host: str = "gw.example.org:18789", tls: bool = False) -> str | None:
        return self.rule.check(headers(origin=list(origins)), parse_authority(host), tls=tls)

    def test_no_origin_and_our_own(self):
        self.assertIsNone(self.rule.check(headers(), self.us, tls=False))
        self.assertIsNone(self.check("http://gw.example.org:18789"))
        self.assertIsNone(self.check("HTTP://GW.EXAMPLE.ORG:18789"))
        self.assertIsNone(self.check("http://[::1]:18789", host="[0:0::1]:18789"))
        self.assertIsNone(self.check("http://gw", host="gw:80"))
        self.assertIsNone(self.check("https://gw:443", host="gw"))
        self.assertIsNone(self.check("https://gw", host="gw", tls=True))

    def test_listed_origins_are_returned_for_the_answer(self):
        for origin in ("https://app.example.org", "http://localhost:3000", "vscode-webview://abc"):
            self.assertEqual(self.check(origin), origin)
        self.assertEqual(self.check("https://b.example"), "https://b.example")

    def test_everything_else_is_refused(self):
        bad = [
            "null",
            "",
            "*",
            "https://evil.example",
            "http://app.example.org",
            "https://app.example.org:444",
        ]
        bad += [
            "https://app.example.org.evil.example",
            "https://evilapp.example.org",
            "https://x.app.example.org",
        ]
        bad += [
            "https://app.example.org/",
            "https://app.example.org:",
            "https://app.example.org.",
            "https://APP.example.org",
            "https://app.example.org@evil.example",
            "https://a b",
            "file://",
        ]
        bad += [
            "http://gw.example.org",
            "http://gw.example.org:18790",
            "http://gw.example.org.:1",
            "gw.example.org",
        ]
        bad += [
            "http://localhost:3000.evil.example",
            "http://localhost.evil.example:3000",
            "https://evil\u00e9",
        ]
        for origin in bad:
            error = self.assertRaises(ForbiddenError, self.check, origin)
            self.assertIn(KEY, error.message)
            self.assertTrue(error.message.isascii() and error.message.isprintable())

    def test_two_origins_are_refused_even_when_each_would_do(self):
        for origin in ("https://app.example.org", "http://gw.example.org:18789"):
            self.assertRaises(ForbiddenError, self.check, origin, origin)

    def test_on_our_own_tls_a_page_of_plain_http_is_not_ours(self):
        self.assertRaises(ForbiddenError, self.check, "http://gw.example.org:18789", tls=True)

    def test_without_a_host_no_origin_is_ours(self):
        request = headers(origin="http://gw.example.org:18789")
        self.assertRaises(ForbiddenError, self.rule.check, request, None, tls=False)

    def test_a_wildcard_is_ignored_and_said(self):
        with capturedLogs() as events:
            rule = OriginRule(KEY, ["*"])
        self.assertEqual([event["key"] for event in events], [KEY])
        self.assertRaises(ForbiddenError, rule.check, headers(origin="https://a.example"), self.us, tls=False)

    def test_entries_that_are_no_origin_are_all_named(self):
        error = self.assertRaises(
            ConfigError, OriginRule, KEY, ["example.org", "https://ok.example", "https://a/b"]
        )
        self.assertEqual([problem.path for problem in error.problems], [f"{KEY}[0]", f"{KEY}[2]"])

    def test_without_strictness_they_let_nobody_in(self) -> None:
        rule = OriginRule(KEY, ["null", "https://ok.example"], strict=False)
        self.assertEqual(rule.listed(Headers({"origin": ["https://ok.example"]})), "https://ok.example")
        self.assertIsNone(rule.listed(Headers({"origin": ["null"]})))

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.text(max_size=12), st.text(max_size=12))
    def test_only_the_listed_text_passes(self, before: str, after: str):
        origin = f"{before}https://app.example.org{after}"
        request = Headers()
        request.setRawHeaders(b"origin", [origin.encode("utf-8", "replace")])
        try:
            passed = self.rule.check(request, self.us, tls=False)
        except ForbiddenError:
            return
        self.assertEqual(passed, "https://app.example.org")
