from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted import errors
from openclaw_twisted.providers.refusals import redact, refusal, retry_after_seconds


class Meaning(SynchronousTestCase):
    def test_each_status_has_its_error(self) -> None:
        table = {
            301: errors.UpstreamError,
            400: errors.UpstreamRejectedError,
            401: errors.UpstreamAuthError,
            402: errors.UpstreamAuthError,
            403: errors.UpstreamAuthError,
            404: errors.UpstreamRejectedError,
            408: errors.UpstreamTimeoutError,
            418: errors.UpstreamRejectedError,
            422: errors.UpstreamRejectedError,
            429: errors.UpstreamRateLimitError,
            500: errors.UpstreamError,
            502: errors.UpstreamError,
            503: errors.UpstreamOverloadedError,
            504: errors.UpstreamTimeoutError,
            529: errors.UpstreamOverloadedError,
            599: errors.UpstreamError,
        }
        for status, kind in table.items():
            self.assertIs(type(refusal("p", status, b"")), kind, status)

    def test_404_stays_404_and_other_refusals_become_400(self) -> None:
        for status, ours in {404: 404, 400: 400, 422: 400, 418: 400}.items():
            error = refusal("p", status, b"")
            assert isinstance(error, errors.UpstreamRejectedError)
            self.assertEqual(error.status, ours)

    def test_a_conversation_that_is_too_long(self) -> None:
        for said in (
            b'{"error":{"message":"This model\'s maximum context length is 8192 tokens"}}',
            b'{"error":{"code":400,"message":"the request exceeds the available context size"}}',
            b'{"message":"prompt is too long: 9 tokens"}',
            b'[{"error":{"message":"The input token count (9) exceeds the maximum number of tokens (8)."}}]',
            b'{"error":{"message":"Please reduce the length of the messages or completion."}}',
            b'{"code":"invalid","error":"This model\'s maximum prompt length is 8 but this has 9."}',
            b'{"error":{"message":"Invalid request: Your request exceeded model token limit: 8192"}}',
            b'{"error":{"message":"`inputs` tokens + `max_new_tokens` must be <= 8"}}',
            b'{"error":{"message":"Request too large (TPM): Limit 8, please reduce your message size."}}',
            b'{"message":"Input is too long for requested model."}',
            b'{"error":{"message":"An error","metadata":{"raw":"{\\"message\\":\\"prompt is too long\\"}"}}}',
        ):
            error = refusal("p", 400, said)
            self.assertIsInstance(error, errors.ContextLengthError, said)
            self.assertIn("context_length_exceeded", error.message)

    def test_the_providers_words_in_every_common_shape(self) -> None:
        for said in (
            b'{"error":{"message":"no such thing"}}',
            b'{"error":"no such thing"}',
            b'{"message":"no such thing"}',
            b'{"detail":"no such thing"}',
            b"no such thing",
            b'[{"error":{"code":400,"message":"no such thing","status":"INVALID_ARGUMENT"}}]',
            b'{"error":{"message":{"detail":"no such thing"}}}',
            b'{"errors":[{"message":"no such thing"}]}',
            b'{"error":null,"message":"no such thing"}',
            b'{"error":{"message":"Provider returned error","metadata":{"raw":"no such thing"}}}',
        ):
            self.assertIn("no such thing", refusal("p", 500, said).message, said)

    def test_which_fields_of_a_form_are_wrong(self) -> None:
        for said in (
            b'{"detail":[{"loc":["body","seed"],"msg":"Extra inputs are not permitted","type":"x"}]}',
            b'{"message":{"detail":[{"loc":["body","seed"],"msg":"Extra inputs are not permitted"}]}}',
        ):
            self.assertIn(": body.seed: Extra inputs are not permitted", refusal("p", 422, said).message)

    def test_an_account_that_is_empty(self) -> None:
        for status, said in (
            (402, b'{"error":{"message":"Insufficient credits"}}'),
            (400, b'{"error":{"message":"Your credit balance is too low to access the API."}}'),
        ):
            error = refusal("p", status, said)
            self.assertIsInstance(error, errors.UpstreamAuthError)
            self.assertIn("account: ", error.message)

    def test_why_something_is_forbidden(self) -> None:
        self.assertIn("flagged", refusal("p", 403, b'{"message":"Your input was flagged"}').message)
        self.assertNotIn("sk-", refusal("p", 401, b'{"message":"Incorrect key: sk-1***2"}').message)

    def test_html_and_odd_json_say_nothing(self) -> None:
        nested = b'{"error":' * 400 + b'"w"' + b"}" * 400
        html = b'{"metadata":{"raw":"<html>Bad Gateway</html>"}}'
        for said in (
            nested,
            html,
            b"<html>Bad Gateway</html>",
            b"[1,2]",
            b'{"error":{"message":{}}}',
            b"\xff\xfe",
        ):
            message = refusal("p", 500, said).message
            self.assertNotIn("<html", message)
            self.assertLess(len(message), 40)

    def test_retry_after_is_read_and_capped(self) -> None:
        told = {
            "7": 7.0,
            "0.5": 0.5,
            "9000": 120.0,
            "inf": 120.0,
            "-1": 0.0,
            "nan": None,
            "soon": None,
            None: None,
        }
        for header, seconds in told.items():
            self.assertEqual(retry_after_seconds(header), seconds, header)

    def test_a_time_counts_from_the_date_of_the_same_answer(self) -> None:
        date = "Sat, 21 Nov 2026 23:59:50 GMT"
        for header, seconds in {
            "Sun, 22 Nov 2026 00:00:05 GMT": 15.0,
            "Sun, 22 Nov 2026 10:00:00 GMT": 120.0,
            "Sat, 21 Nov 2026 23:59:40 GMT": 0.0,
            "Sun, 31 Nov 2026 00:00:00 GMT": None,
        }.items():
            self.assertEqual(retry_after_seconds(header, date), seconds, header)
            self.assertIsNone(retry_after_seconds(header))

    def test_what_it_asks_for_is_passed_on(self) -> None:
        for status in (429, 503):
            self.assertEqual(refusal("p", status, b"", retry_after=7).retry_after_seconds, 7)


class Redacting(SynchronousTestCase):
    def test_credentials_are_taken_out(self) -> None:
        said = (
            "Incorrect API key provided: sk-proj-abcdef123456. Sent Bearer xyzzy-plugh; ours hunter2hunter2"
        )
        told = redact(said, ["Bearer hunter2hunter2"])
        for secret in ("abcdef123456", "xyzzy", "hunter2"):
            self.assertNotIn(secret, told)
        self.assertIn("Incorrect API key provided", told)

    def test_one_line_of_two_thousand_characters(self) -> None:
        told = redact("a\nb\r\n" + "x" * 5000)
        self.assertEqual(len(told), 2000)
        self.assertNotIn("\n", told)
