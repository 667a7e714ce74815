from twisted.internet.defer import CancelledError

from openclaw_twisted.content import ImagePart
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.http.image_fetch import ImageFetcher
from tests.http.image_web import PARAM, PNG, PUBLIC, MemoryCase, Names, answer, base64, redirect


def spellings(ip: str) -> list[str]:
    """Return the ways to write an IPv4 address."""
    a, b, c, d = map(int, ip.split("."))
    whole = (a << 24) + (b << 16) + (c << 8) + d
    return [
        ip,
        f"{ip}.",
        str(whole),
        f"{whole}.",
        hex(whole),
        f"0X{whole:08X}",
        f"0{whole:o}",
        f"{a}.{whole & 0xFFFFFF}",
        f"{a}.{b}.{whole & 0xFFFF}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        f"{a:#x}.{whole & 0xFFFFFF:#x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"000{a:o}.{b:#x}.{c}.{d}",
        ip.replace(".", "\u3002"),
        "".join(chr(ord(letter) + 0xFEE0) if letter != "." else letter for letter in ip),
        f"[::ffff:{ip}]",
        f"[0:0:0:0:0:ffff:{ip}]",
        f"[::{ip}]",
        f"[64:ff9b::{ip}]",
        f"[2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1]",
        f"[2606:4700::5efe:{ip}]",
    ]


INSIDE = Names(
    localhost="127.0.0.1 ::1",
    internal_test="10.0.0.5",
    home_test="192.168.1.1",
    tailnet_test="100.100.100.200",
    here_test="0.0.0.0",
    metadata="169.254.169.254",
    metadata_google_internal="169.254.169.254",
    six_test="fd00:ec2::254",
    link_test="fe80::1%eth0",
    mapped_test="::ffff:127.0.0.1",
    nat64_test="64:ff9b::7f00:1",
    teredo_test="2001:0:4136:e378:8000:63bf:3fff:fdd2",
    many_test="224.0.0.251",
    first_test=f"127.0.0.1 {PUBLIC}",
    last_test=f"{PUBLIC} 2606:4700::1111 1.1.1.1 1.0.0.1 8.8.8.8 10.0.0.1",
    public_test=PUBLIC,
    gone_test="",
)

HOSTILE_HOSTS = [
    *(
        host
        for ip in ("127.0.0.1", "169.254.169.254", "10.0.0.1", "192.168.1.1", "0.0.0.0")
        for host in spellings(ip)
    ),
    "172.16.0.1",
    "100.100.100.200",
    "198.18.0.1",
    "192.0.0.192",
    "168.63.129.16",
    "224.0.0.1",
    "255.255.255.255",
    "0",
    "0x0",
    "127.1",
    "127.127.127.127",
    "[::]",
    "[::1]",
    "[0:0::0:1]",
    "[fd00:ec2::254]",
    "[FE80::1]",
    "[ff02::1]",
    "[fec0::1]",
    "[2001:db8::1]",
    "[2001::1]",
    "[::1%25lo]",
    "[::1%lo]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b:1::1]",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "\u24dbocalhost",
    "local\xadhost",
    "internal.test",
    "internal.test.",
    "home.test",
    "tailnet.test",
    "here.test",
    "metadata",
    "metadata.google.internal",
    "six.test",
    "link.test",
    "mapped.test",
    "nat64.test",
    "teredo.test",
    "many.test",
    "first.test",
    "last.test",
    "gone.test",
    "unknown.test",
    "public.test@127.0.0.1",
    "127.0.0.1@public.test",
    "u:p@public.test",
    "public.test\\@127.0.0.1",
    "127.0.0.1%00.test",
    "127.0.0.1%23.public.test",
    "127%2e0%2e0%2e1",
    "public.test%0d%0aHost:x",
    "127.0.0.1\t",
    "127.0.0.1\r\n",
    "a b",
    "",
    "127.0.0.1:80:80",
    "public.test:22",
    "public.test:0",
    "public.test:65616",
    "public.test:6379",
    "public.test:x",
]

HOSTILE_URLS = [
    *(f"{scheme}://{host}/secret-path" for scheme in ("http", "https") for host in HOSTILE_HOSTS),
    "file:///secret-path",
    "gopher://127.0.0.1:6379/_secret-path",
    "ftp://public.test/secret-path",
    "dict://x/secret-path",
    "//public.test/secret-path",
    "/secret-path",
    "ws://public.test/secret-path",
    "unix:/secret-path",
    "http:secret-path",
    *("http:/public.test/secret-path", "http:///127.0.0.1/secret-path", "http:\\\\127.0.0.1\\secret-path"),
    "http://public.test/secret-path\r\nHost: 127.0.0.1",
    "http://public.test/a b",
    "jar:http://127.0.0.1!/secret-path",
]

# Read against the address that they come from, these are on the same public host.
HARMLESS_IN_A_REDIRECT = {
    "/secret-path",
    "//public.test/secret-path",
    "http:secret-path",
    "http:/public.test/secret-path",
    "http:///secret-path",
    "http:///127.0.0.1/secret-path",
}


class Hostile(MemoryCase):
    def test_nothing_opens_a_connection(self) -> None:
        self.assertGreater(len(set(HOSTILE_URLS)), 300)
        for url in HOSTILE_URLS:
            web = self.web(INSIDE)
            try:
                fetching = web.fetch(url)
            except InvalidRequestError as refused:
                error = refused  # at the door already
            else:
                error = self.trouble(fetching)
            self.assertEqual(web.connections, [], url)
            self.assertEqual(error.param, PARAM, url)
            self.assertNotIn("secret-path", error.message)
            self.assertEqual(web.reactor.getDelayedCalls(), [], url)

    def test_nothing_that_a_redirect_leads_to_opens_a_connection(self) -> None:
        self.assertLess(HARMLESS_IN_A_REDIRECT, set(HOSTILE_URLS))
        for url in HOSTILE_URLS:
            web = self.web(INSIDE)
            fetching = web.fetch("http://public.test/")
            web.host().send(redirect(url.replace("\r", "").replace("\n", "\t")))
            if url in HARMLESS_IN_A_REDIRECT:
                self.assertEqual(web.connections, [(PUBLIC, 80)] * 2, url)
                self.assertIn("Host: public.test", web.host().request)
                continue
            self.assertEqual(web.connections, [(PUBLIC, 80)], url)
            error = self.trouble(fetching)
            self.assertEqual(error.param, PARAM)
            self.assertNotIn("secret-path", error.message)

    def test_what_has_no_address_and_what_has_a_private_one_are_told_alike(self) -> None:
        told = {
            self.trouble(self.web(INSIDE).fetch(f"http://{name}.test/")).message.replace(name, "")
            for name in ("gone", "unknown", "internal", "last")
        }
        self.assertEqual(len(told), 1)
        self.assertIn("has no public address", told.pop())

    def test_a_listed_host_has_to_be_public_all_the_same(self) -> None:
        web = self.web(INSIDE, url_allowlist=("internal.test", "127.0.0.1"))
        for host in ("internal.test", "127.0.0.1"):
            self.assertIn("no public address", self.trouble(web.fetch(f"http://{host}:8080/")).message)
        self.assertEqual(web.connections, [])

    def test_the_same_hosts_are_reached_when_the_policy_says_so(self) -> None:
        """So it is the policy that kept them from being connected to, not a defect of the tests."""
        web = self.web(INSIDE)
        web.fetcher = ImageFetcher(web.reactor, web.limits, resolver=INSIDE, may_connect=lambda _ip: True)
        for host, ip in {
            "0x7f.1": "127.0.0.1",
            "[::1]": "::1",
            "internal.test": "10.0.0.5",
            "last.test": PUBLIC,
        }.items():
            fetching = web.fetch(f"http://{host}/")
            self.assertEqual(web.connections[-1], (ip, 80))
            fetching.cancel()
            self.failureResultOf(fetching, CancelledError)


class Rebinding(MemoryCase):
    def test_a_name_is_looked_up_once_and_what_was_checked_is_connected_to(self) -> None:
        names = Names(flip_test=[PUBLIC, "127.0.0.1"])
        web = self.web(names)
        fetching = web.fetch("http://flip.test/a")
        host = web.host()
        self.assertEqual(names.asked, ["flip.test"])
        self.assertEqual(web.connections, [(PUBLIC, 80)])
        self.assertIn("Host: flip.test", host.request)
        host.send(answer())
        self.assertEqual(self.fetched(fetching), [ImagePart("image/png", base64(PNG))])

    def test_a_redirect_to_the_same_name_is_looked_up_again(self) -> None:
        names = Names(flip_test=[PUBLIC, "127.0.0.1"])
        web = self.web(names)
        fetching = web.fetch("http://flip.test/a")
        web.host().send(redirect("/b"))
        self.assertIn("no public address", self.trouble(fetching).message)
        self.assertEqual(names.asked, ["flip.test"] * 2)
        self.assertEqual(web.connections, [(PUBLIC, 80)])
