from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.errors import ConfigError
from openclaw_twisted.http.image_url import MAX_URL_CHARACTERS, HostList, WebAddress, read_address


class Reading(SynchronousTestCase):
    def read(self, text: str) -> WebAddress:
        address = read_address(text)
        assert address is not None, text
        return address

    def test_what_is_read(self) -> None:
        for text, meant in {
            "http://example.org": "http://example.org/",
            "HTTPS://Example.ORG/A.png": "https://example.org/A.png",
            "https://example.org:443/": "https://example.org/",
            "http://example.org:443/": "http://example.org:443/",
            "http://example.org:/": "http://example.org/",
            "http://example.org:08080/x": "http://example.org:8080/x",
            "https://example.org/a/../b?c=%20&d=e/f?g#h?i": "https://example.org/a/../b?c=%20&d=e/f?g",
            "https://example.org?a=b": "https://example.org/?a=b",
            "https://example.org#a": "https://example.org/",
            "https://example.org./a": "https://example.org/a",
            "https://example.org/ü ".rstrip(): "https://example.org/%C3%BC",
            'https://example.org/<"|>': "https://example.org/%3C%22%7C%3E",
            "https://bücher.example/": "https://xn--bcher-kva.example/",
            "https://faß.example/": "https://xn--fa-hia.example/",
            "https://ＥＸＡＭＰＬＥ。org/": "https://example.org/",  # noqa: RUF001 - the point of it
            "http://[2606:4700::1111]:8080/a": "http://[2606:4700::1111]:8080/a",
            "http://[2606:4700:0:0:0:0:0:1111]/": "http://[2606:4700::1111]/",
            "http://localhost/": "http://localhost/",
            "http://127.0.0.1#@example.org/": "http://127.0.0.1/",
            "http://127.0.0.1?@example.org/": "http://127.0.0.1/?@example.org/",
        }.items():
            self.assertEqual(str(self.read(text)), meant)

    def test_the_ways_to_write_an_ip_address(self) -> None:
        for host, ip in {
            "127.0.0.1": "127.0.0.1",
            "127.0.0.1.": "127.0.0.1",
            "127.1": "127.0.0.1",
            "127.0.1": "127.0.0.1",
            "2130706433": "127.0.0.1",
            "0x7f000001": "127.0.0.1",
            "0X7F.0.0.1": "127.0.0.1",
            "0x7f.1": "127.0.0.1",
            "0177.0.0.1": "127.0.0.1",
            "017700000001": "127.0.0.1",
            "00000177.0x0.00.1": "127.0.0.1",
            "0": "0.0.0.0",
            "0.0": "0.0.0.0",
            "1.1": "1.0.0.1",
            "134744072": "8.8.8.8",
            "１２７.０.０.１": "127.0.0.1",  # noqa: RUF001
            "127。0。0。1": "127.0.0.1",
            "①②⑦.⓪.⓪.①": "127.0.0.1",
            "[::1]": "::1",
            "[0:0:0:0:0:0:0:1]": "::1",
            "[::ffff:127.0.0.1]": "::ffff:127.0.0.1",
            "[::ffff:7f00:1]": "::ffff:127.0.0.1",
            "[FE80::1]": "fe80::1",
        }.items():
            address = self.read(f"http://{host}/")
            self.assertEqual(address.ip, ip_address(ip), host)
            self.assertEqual(ip_address(address.host), ip_address(ip), host)

    def test_what_is_not_read(self) -> None:
        table = [
            "ftp://example.org/",
            "file:///etc/passwd",
            "gopher://127.0.0.1:70/_x",
            "javascript:alert(1)",
            "//example.org/",
            "/a.png",
            "example.org",
            "http:/example.org/",
            "http:example.org",
            "http://",
            "https:///",
            "http://:80/",
            "http://#a",
            "http://?a",
            "http://user@example.org/",
            "http://user:secret@example.org/",
            "http://@example.org/",
            "http://example.org@127.0.0.1/",
            "http://example.org:0/",
            "http://example.org:65536/",
            "http://example.org:-1/",
            "http://example.org:80x/",
            "http://example.org:0x50/",
            "http://example.org:80:80/",
            "http://example.org:٨٠/",
            "http://a..b/",
            "http://.example.org/",
            "http://example.org../",
            "http://-a.org/",
            "http://a_b.org/",
            "http://exa%6dple.org/",
            "http://127.0.0.1%00.example.org/",
            "http://127%2e0%2e0%2e1/",
            "http://℀.org/",
            "http://a／b.org/",  # noqa: RUF001
            "http://xn--zz/",
            "http://1.2.3.4.5/",
            "http://1.2.3.256/",
            "http://4294967296/",
            "http://08/",
            "http://0x/",
            "http://1..2/",
            "http://example.1/",
            "http://1.2.3.4x.5/",
            "http://[::1/",
            "http://::1/",
            "http://[::1]x/",
            "http://[::1%25lo]/",
            "http://[::1%lo]/",
            "http://[127.0.0.1]/",
            "http://[]/",
            "http://[v1.x]/",
            "http://example.org\\@127.0.0.1/",
            "http:\\\\127.0.0.1\\",
            "http://example.org/\\a",
        ]
        table += [f"http://example.org{blank}/" for blank in "\0\t\n\r \x0b\x1f\x7f\x85\xa0\ud800"]
        table += [
            " http://example.org/",
            "http://example.org/ ",
            "http://example.org/\r\nHost:x",
            "http://e\tx.org/",
        ]
        table += [
            f"http://{'a' * 64}.org/",
            f"http://{'a.' * 200}org/",
            f"http://a.org/{'a' * MAX_URL_CHARACTERS}",
            "",
        ]
        for text in table:
            self.assertIsNone(read_address(text), text)

    @given(st.text() | st.text(alphabet="htps:/.@[]#?%\\ 0127xX\t").map("http://{}".format))
    def test_whatever_is_read_is_read_the_same_again(self, text: str) -> None:
        address = read_address(text)
        if address is not None:
            self.assertEqual(read_address(str(address)), address)
            self.assertRegex(str(address), r"\Ahttps?://[\x21-\x7e]+\Z")


class Redirects(SynchronousTestCase):
    HERE = "https://example.org:8443/a/b?c"

    def test_where_they_lead(self) -> None:
        here = read_address(self.HERE)
        assert here is not None
        for location, there in {
            "https://cdn.example.net/x": "https://cdn.example.net/x",
            "http://127.0.0.1/": "http://127.0.0.1/",
            "//cdn.example.net/x": "https://cdn.example.net/x",
            "/x?y#z": "https://example.org:8443/x?y",
            "x": "https://example.org:8443/a/x",
            "../../x": "https://example.org:8443/x",
            "?x": "https://example.org:8443/a/b?x",
            "": self.HERE,
            "//0x7f.1/": "https://127.0.0.1/",
            "/ü": "https://example.org:8443/%C3%BC",
        }.items():
            self.assertEqual(str(here.follow(location)), there)

    def test_what_leads_nowhere(self) -> None:
        here = read_address(self.HERE)
        assert here is not None
        for location in (
            "file:///etc/passwd",
            "ftp://example.org/",
            "data:image/png;base64,AAAA",
            "javascript:alert(1)",
            "//user@example.net/",
            "//[::1",
            "//[::1]]/",
            "http://[not-six]/",
            "/\\example.net",
            "\t//example.net/",
            "ht\ttp://127.0.0.1/",
            "/a b",
        ):
            self.assertIsNone(here.follow(location), location)


class Lists(SynchronousTestCase):
    def test_names(self) -> None:
        listed = HostList(
            "key", ["cdn.example.org", " *.Example.NET ", "bücher.example", "8.8.8.8", "[2606::1]"]
        )
        for host in (
            "cdn.example.org",
            "a.example.net",
            "a.b.example.net",
            "xn--bcher-kva.example",
            "8.8.8.8",
            "2606::1",
        ):
            self.assertIn(host, listed)
        for host in (
            "example.org",
            "a.cdn.example.org",
            "example.net",
            "badexample.net",
            "8.8.4.4",
            "cdn.example.org.x",
        ):
            self.assertNotIn(host, listed)
        self.assertTrue(listed)

    def test_an_empty_list_holds_nothing_and_says_so(self) -> None:
        self.assertFalse(HostList("key", []))

    def test_every_bad_entry_is_told(self) -> None:
        bad = [
            "*",
            "",
            "*.",
            "https://example.org",
            "example.org/a",
            "example.org:80",
            "a b",
            "*.*.org",
            "u@a.org",
            "2606::1",
        ]
        with self.assertRaises(ConfigError) as caught:
            HostList("some.key", ["example.org", *bad])
        problems = caught.exception.problems
        self.assertEqual([problem.path for problem in problems], [f"some.key[{at}]" for at in range(1, 11)])
        self.assertIn("an empty list allows every public host", problems[0].message)
