"""What the users of each application do: a handful of requests, and the status of each answer."""

from __future__ import annotations

import base64
import json
import zlib

from strict_apps.visitor import Visitor

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg==")


def wsgidav(visit: Visitor) -> None:
    """A share: folders, files, locks, properties."""
    visit("GET", "/", status=401)
    visit.log_in("ada", "secret")
    visit("OPTIONS", "/")
    visit("GET", "/")
    visit.head("/")
    visit("PROPFIND", "/", status=207, Depth="1")
    visit("MKCOL", "/folder", status=201)
    visit("PUT", "/folder/file.txt", b"0123456789" * 10_000, status=201)
    visit("PUT", "/folder/file.txt", b"0123456789" * 20_000, status=204)
    visit("PUT", "/folder/empty", b"", status=201)
    visit("GET", "/folder/file.txt")
    visit.head("/folder/file.txt")
    visit("GET", "/folder/empty")
    visit("GET", "/folder/file.txt", status=206, Range="bytes=10-19")
    visit("GET", "/folder/file.txt", status=416, Range="bytes=900000-")
    visit.unchanged("/folder/file.txt")
    visit("GET", "/folder/", status=200)
    visit("GET", "/nothing", status=404)
    visit("HEAD", "/nothing", status=404)
    visit("PROPPATCH", "/folder/file.txt",
          '<?xml version="1.0"?><D:propertyupdate xmlns:D="DAV:" xmlns:m="urn:m"><D:set><D:prop>'
          "<m:author>Ada</m:author></D:prop></D:set></D:propertyupdate>", status=207)
    answer = visit("LOCK", "/folder/file.txt",
                   '<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/>'
                   "</D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>")
    visit("PUT", "/folder/file.txt", b"locked out", status=423)
    visit("UNLOCK", "/folder/file.txt", status=204, Lock_Token=answer.headers["Lock-Token"])
    here = f"http://127.0.0.1:{visit.port}"
    visit("COPY", "/folder/file.txt", status=201, Destination=f"{here}/copy.txt")
    visit("MOVE", "/copy.txt", status=201, Destination=f"{here}/moved.txt")
    visit("PROPFIND", "/", status=207, Depth="infinity")
    visit("DELETE", "/folder", status=204)
    visit("BREW", "/", status=(400, 405, 501))


def devpi(visit: Visitor) -> None:
    """An index of packages: log in, make an index, upload, install."""
    visit("GET", "/+status")
    visit("GET", "/+api", Accept="application/json")
    visit("GET", "/", Accept="application/json")
    visit.send_json("POST", "/+login", {"user": "root", "password": "wrong"}, status=401)

    def sign_in(user: str) -> None:
        answer = visit.send_json("POST", "/+login", {"user": user, "password": "secret"})
        pair = f"{user}:{answer.json['result']['password']}"
        visit.fields["X-Devpi-Auth"] = base64.b64encode(pair.encode()).decode()

    sign_in("root")
    visit.send_json("PUT", "/ada", {"password": "secret"}, status=201)
    sign_in("ada")
    visit.send_json("PUT", "/ada/dev", {"type": "stage", "bases": []}, status=200)
    visit("GET", "/ada", Accept="application/json")
    visit.upload("/ada/dev/", ("content", "hello-1.0.tar.gz", zlib.compress(b"hello" * 1000)),
                 **{":action": "file_upload", "name": "hello", "version": "1.0",
                    "filetype": "sdist", "metadata_version": "1.2"})
    page = visit("GET", "/ada/dev/+simple/hello/")
    link = page.find(r'href="../../([^"#]+)')
    visit("GET", f"/ada/dev/{link}")
    visit.head(f"/ada/dev/{link}")
    visit("GET", f"/ada/dev/{link}", status=(200, 206), Range="bytes=0-3")
    visit("GET", "/ada/dev/+simple/")
    visit.head("/ada/dev/+simple/")
    visit("GET", "/ada/dev/+simple/hello", status=(200, 302), User_Agent="pip/26.0")
    visit("GET", "/ada/dev/+simple/nothing/", status=(200, 404))
    visit("GET", "/nobody", status=404, Accept="application/json")
    visit("GET", "/ada/dev/hello/1.0", Accept="application/json")
    visit("DELETE", "/ada/dev/hello/1.0", status=200, Accept="application/json")


def trac(visit: Visitor) -> None:
    """A project: wiki, tickets, a file attached, source of pages, feeds."""
    answer = visit("GET", "/")
    visit.head("/")
    visit("GET", "/wiki/WikiFormatting")
    visit("GET", "/wiki/TracGuide?format=txt")
    visit("GET", "/chrome/common/css/trac.css")
    visit.head("/chrome/common/css/trac.css")
    visit.unchanged("/chrome/common/css/trac.css")
    token = visit.cookies["trac_form_token"]
    answer = visit.form("/newticket", 303, __FORM_TOKEN=token, field_summary="It hurts",
                        field_description="When I do this.", submit="Create ticket")
    visit("GET", "/ticket/1")
    visit("GET", "/ticket/1?format=csv")
    visit("GET", "/ticket/1?format=rss")
    visit.upload("/attachment/ticket/1/", ("attachment", "note.bin", bytes(range(256)) * 100), 303,
                 __FORM_TOKEN=token, action="new", realm="ticket", id="1", description="a note")
    visit("GET", "/raw-attachment/ticket/1/note.bin")
    visit.head("/raw-attachment/ticket/1/note.bin")
    visit.unchanged("/raw-attachment/ticket/1/note.bin")
    visit("GET", "/attachment/ticket/1/note.bin")
    visit("GET", "/zip-attachment/ticket/1/")
    visit.form("/wiki/NewPage", 303, __FORM_TOKEN=token, action="edit", version="0", save="Save",
               text="= New =")
    visit("GET", "/wiki/NewPage?action=history")
    visit("GET", "/timeline")
    visit("GET", "/timeline?ticket=on&max=50&format=rss")
    visit("GET", "/query?status=new&format=csv")
    visit("GET", "/search?q=hurts")
    visit("GET", "/report/1")
    visit("GET", "/admin")
    visit("GET", "/about")
    visit("GET", "/nothing", status=404)
    visit("GET", "/ticket/99", status=404)
    visit.form("/newticket", 400, field_summary="no token")
    visit("GET", "/login", status=(303, 302, 500))
    assert answer.headers["Location"]


def wagtail(visit: Visitor) -> None:
    """A site: pages, the editors' side with its login, an image, a document."""
    visit("GET", "/")
    visit.head("/")
    visit("GET", "/nothing/", status=404)
    visit("GET", "/admin/", status=302)
    page = visit("GET", "/admin/login/")
    token = page.find(r'name="csrfmiddlewaretoken" value="([^"]+)')
    visit.form("/admin/login/", 200, csrfmiddlewaretoken=token, username="ada", password="wrong")
    visit.form("/admin/login/", 302, csrfmiddlewaretoken=token, username="ada", password="secret",
               next="/admin/")
    visit("GET", "/admin/")
    visit("GET", "/admin/pages/")
    page = visit("GET", "/admin/documents/add/")
    token = page.find(r'name="csrfmiddlewaretoken" value="([^"]+)')
    visit.upload("/admin/documents/add/", ("file", "note.txt", b"a note" * 1000), 302,
                 csrfmiddlewaretoken=token, title="note", collection="1")
    page = visit("GET", "/admin/documents/")
    link = page.find(r'href="(/documents/\d+/[^"]+)"')
    visit("GET", link)
    visit.head(link)
    visit.unchanged(link)
    visit.upload("/admin/images/add/", ("file", "dot.png", PNG), 302,
                 csrfmiddlewaretoken=token, title="dot", collection="1", focal_point_x="",
                 focal_point_y="", focal_point_width="", focal_point_height="", tags="")
    visit("GET", "/admin/images/")
    visit("GET", "/admin/api/main/pages/?fields=*")
    visit("GET", "/static/wagtailadmin/css/core.css")
    visit.head("/static/wagtailadmin/css/core.css")
    visit.unchanged("/static/wagtailadmin/css/core.css")
    visit("GET", "/search/?query=welcome")
    visit.form("/admin/logout/", 302, csrfmiddlewaretoken=token)
    visit.form("/admin/login/", 403, username="ada", password="without a token")


EVENT = """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//test//test//EN\r
BEGIN:VEVENT\r
UID:one\r
DTSTAMP:20260101T000000Z\r
DTSTART:20260102T100000Z\r
DTEND:20260102T110000Z\r
SUMMARY:Tea\r
END:VEVENT\r
END:VCALENDAR\r
"""


def radicale(visit: Visitor) -> None:
    """Calendars: discover, make one, add to it, ask, sync, remove."""
    visit("GET", "/", status=302)
    visit("GET", "/.web/")
    visit.head("/.web/")
    visit("GET", "/.web/css/main.css")
    visit.head("/.web/css/main.css")
    visit("GET", "/.well-known/caldav", status=(301, 302))
    visit("PROPFIND", "/ada/", status=401, Depth="0")
    visit.log_in("ada", "wrong")
    visit("PROPFIND", "/ada/", status=401, Depth="0")
    visit.log_in("ada", "secret")
    visit("OPTIONS", "/ada/")
    visit("PROPFIND", "/ada/", status=207, Depth="1")
    visit("MKCALENDAR", "/ada/tea/", status=201)
    visit("PUT", "/ada/tea/one.ics", EVENT, status=201, Content_Type="text/calendar")
    answer = visit("GET", "/ada/tea/one.ics")
    visit.head("/ada/tea/one.ics")
    visit("PUT", "/ada/tea/one.ics", EVENT.replace("Tea", "Coffee"), status=(201, 204),
          If_Match=answer.headers["ETag"], Content_Type="text/calendar")
    visit("PUT", "/ada/tea/one.ics", EVENT, status=412, If_Match='"other"')
    visit("PUT", "/ada/tea/two.ics", "no calendar", status=400, Content_Type="text/calendar")
    visit("GET", "/ada/tea/")
    visit("REPORT", "/ada/tea/",
          '<?xml version="1.0"?><C:calendar-query xmlns:D="DAV:" '
          'xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/><C:calendar-data/></D:prop>'
          '<C:filter><C:comp-filter name="VCALENDAR"/></C:filter></C:calendar-query>',
          status=207, Depth="1")
    visit("PROPPATCH", "/ada/tea/",
          '<?xml version="1.0"?><D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><D:displayname>Tea'
          "</D:displayname></D:prop></D:set></D:propertyupdate>", status=207)
    visit("GET", "/ada/tea/nothing.ics", status=404)
    visit("HEAD", "/ada/tea/nothing.ics", status=404)
    visit("MOVE", "/ada/tea/one.ics", status=(201, 204),
          Destination=f"http://127.0.0.1:{visit.port}/ada/tea/three.ics")
    visit("DELETE", "/ada/tea/three.ics", status=200)
    visit("DELETE", "/ada/tea/", status=200)
    visit("BREW", "/ada/", status=(400, 405, 501))


def klaus(visit: Visitor) -> None:
    """A repository in the browser, and cloned."""
    visit("GET", "/")
    visit.head("/")
    page = visit("GET", "/project/")
    visit("GET", "/project/tree/main/")
    visit("GET", "/project/blob/main/hello.py")
    visit("GET", "/project/raw/main/hello.py")
    visit.head("/project/raw/main/hello.py")
    visit("GET", "/project/raw/main/dot.bin")
    visit("GET", "/project/blame/main/hello.py")
    visit("GET", "/project/tree/main/hello.py")
    commit = page.find(r"/project/commit/([0-9a-f]+)")
    visit("GET", f"/project/commit/{commit}/")
    visit("GET", f"/project/commit/{commit}.patch", status=(200, 404))
    visit("GET", "/project/tarball/main/")
    visit.head("/project/tarball/main/")
    visit("GET", "/static/style.css", status=(200, 404))
    visit("GET", "/static/klaus.css", status=(200, 404))
    visit("GET", "/project/info/refs?service=git-upload-pack")
    visit.git("clone", "project")
    visit("GET", "/nothing/", status=404)
    visit("GET", "/project/blob/main/nothing", status=404)


def mlflow(visit: Visitor) -> None:
    """Tracking: an experiment, a run, numbers, an artifact up and down."""
    api = "/api/2.0/mlflow"
    visit("GET", "/health")
    visit("GET", "/version")
    visit.head("/health")
    visit("GET", "/")
    visit.head("/")
    answer = visit.send_json("POST", f"{api}/experiments/create", {"name": "tea"})
    experiment = answer.json["experiment_id"]
    visit.send_json("POST", f"{api}/experiments/create", {"name": "tea"}, status=400)
    visit("GET", f"{api}/experiments/get?experiment_id={experiment}")
    visit("GET", f"{api}/experiments/get?experiment_id=12345", status=404)
    visit.send_json("POST", f"{api}/experiments/search", {"max_results": 10})
    answer = visit.send_json(
        "POST", f"{api}/runs/create", {"experiment_id": experiment, "start_time": 1})
    run = answer.json["run"]["info"]["run_id"]
    for step in range(3):
        visit.send_json("POST", f"{api}/runs/log-metric", {
            "run_id": run, "key": "loss", "value": 1 / (step + 1), "timestamp": 1, "step": step})
    visit.send_json("POST", f"{api}/runs/log-parameter", {"run_id": run, "key": "a", "value": "b"})
    visit("GET", f"{api}/metrics/get-history?run_id={run}&metric_key=loss")
    place = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/model.bin"
    visit("PUT", place, bytes(100_000))
    visit("GET", place)
    visit("GET", f"{api}/artifacts/list?run_id={run}")
    visit("GET", f"/get-artifact?path=model.bin&run_id={run}")
    visit.head(f"/get-artifact?path=model.bin&run_id={run}")
    visit("GET", f"/get-artifact?path=nothing&run_id={run}", status=(404, 500))
    visit("DELETE", place)
    visit("GET", "/nothing", status=404)
    visit("DELETE", "/health", status=405)
    visit("POST", f"{api}/runs/create", "no json", status=(400, 500),
          Content_Type="application/json")


def isso(visit: Visitor) -> None:
    """Comments: say something, correct it, like it, remove it; the moderator's page."""
    visit.fields |= {"Origin": "http://localhost:1", "Referer": "http://localhost:1/page/"}
    visit("GET", "/?uri=/page/", status=(200, 404))
    answer = visit.send_json("POST", "/new?uri=/page/", {"text": "A comment", "title": "Page"},
                             status=(201, 202))
    number = answer.json["id"]
    visit("GET", "/?uri=/page/")
    visit.head("/?uri=/page/")
    visit("GET", f"/id/{number}?plain=1")
    visit.send_json("PUT", f"/id/{number}", {"text": "A better comment"})
    visit.send_json("POST", "/count", ["/page/", "/other/"])
    visit("POST", f"/id/{number}/like", "", Content_Type="application/json")
    visit.send_json("POST", "/new?uri=/page/", {"text": ""}, status=400)
    visit("DELETE", f"/id/{number}", Content_Type="application/json")
    visit("OPTIONS", "/")
    visit("GET", "/feed?uri=/page/", status=(200, 404))
    visit("GET", "/js/embed.dev.js", status=(200, 404))
    visit("GET", "/js/embed.min.js")
    visit.head("/js/embed.min.js")
    visit.unchanged("/js/embed.min.js")
    visit("GET", "/css/isso.css")
    visit("GET", "/demo/", status=(200, 301, 302))
    visit("GET", "/info")
    visit("GET", "/config", status=(200, 404))
    visit("GET", "/login/", status=(200, 404, 405))
    visit("GET", "/admin/")
    visit.form("/login/", (200, 302, 303), password="secret")
    visit("GET", "/admin/")
    visit("GET", "/nothing", status=404)


def kinto(visit: Visitor) -> None:
    """A store of JSON: buckets, collections, records, conditions."""
    visit("GET", "/", status=307)
    visit("GET", "/v1/")
    visit.head("/v1/")
    visit("GET", "/v1/__heartbeat__")
    visit("GET", "/v1/buckets/one", status=(401, 403))
    visit.log_in("ada", "secret")
    visit.send_json("PUT", "/v1/buckets/one", {"data": {}}, status=201)
    visit.send_json("PUT", "/v1/buckets/one/collections/tea", {"data": {}}, status=201)
    records = "/v1/buckets/one/collections/tea/records"
    answer = visit.send_json("POST", records, {"data": {"name": "Assam"}}, status=201)
    key = answer.json["data"]["id"]
    visit.send_json("PATCH", f"{records}/{key}", {"data": {"price": 3}})
    visit("GET", f"{records}/{key}")
    visit.unchanged(f"{records}/{key}")
    visit.unchanged(records)
    visit.head(records)
    visit("GET", f"{records}?_sort=name&_limit=1")
    visit("GET", f"{records}/nothing", status=404)
    visit.send_json("PUT", f"{records}/{key}", {"data": {}}, status=412, If_Match='"1"')
    visit.send_json("POST", records, {"data": 3}, status=400)
    visit("POST", records, "no json", status=400, Content_Type="application/json")
    visit.send_json("POST", "/v1/batch", {"requests": [
        {"path": "/v1/buckets/one"}, {"path": f"{records}/{key}"}, {"path": "/v1/nothing"}]})
    visit("OPTIONS", records, Origin="http://localhost:1", Access_Control_Request_Method="GET")
    visit("DELETE", f"{records}/{key}")
    visit("DELETE", "/v1/buckets/one")
    visit("BREW", "/v1/", status=(405, 501))


def moto(visit: Visitor) -> None:
    """A double of AWS: S3 with ranges and parts, SQS, DynamoDB, the dashboard."""

    def signed(service: str) -> dict[str, str]:
        return {"Host": f"localhost:{visit.port}", "Authorization":
                f"AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/{service}/aws4_request, "
                "SignedHeaders=host, Signature=x"}

    s3 = signed("s3")
    visit("PUT", "/store", **s3)
    visit("GET", "/", **s3)
    visit("PUT", "/store/key.bin", bytes(range(256)) * 1000, **s3)
    visit("GET", "/store/key.bin", **s3)
    visit.head("/store/key.bin", **s3)
    visit("GET", "/store/key.bin", status=206, Range="bytes=0-9", **s3)
    visit("GET", "/store/key.bin", status=416, Range="bytes=900000-", **s3)
    visit.unchanged("/store/key.bin", **s3)
    visit("GET", "/store?list-type=2", **s3)
    visit("HEAD", "/store", **s3)
    visit("GET", "/store/nothing", status=404, **s3)
    visit("HEAD", "/store/nothing", status=404, **s3)
    number = visit("POST", "/store/parts?uploads", **s3).find("<UploadId>([^<]+)")
    etag = visit("PUT", f"/store/parts?partNumber=1&uploadId={number}", b"part" * 1000, **s3)
    visit("POST", f"/store/parts?uploadId={number}",
          "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"
          f"{etag.headers['ETag']}</ETag></Part></CompleteMultipartUpload>", **s3)
    visit("GET", "/moto-api/data.json", status=(200, 500))
    visit("DELETE", "/store/key.bin", status=204, **s3)
    visit("DELETE", "/store/parts", status=204, **s3)
    visit("DELETE", "/store", status=204, **s3)
    kind = "application/x-amz-json-1.0"
    visit("POST", "/", json.dumps({"QueueName": "tea"}), Content_Type=kind,
          X_Amz_Target="AmazonSQS.CreateQueue", **signed("sqs"))
    visit("POST", "/", json.dumps({"QueueUrl": "http://localhost/nothing"}), Content_Type=kind,
          status=400, X_Amz_Target="AmazonSQS.ReceiveMessage", **signed("sqs"))
    visit("POST", "/", json.dumps({}), Content_Type=kind,
          X_Amz_Target="DynamoDB_20120810.ListTables", **signed("dynamodb"))
    visit("GET", "/moto-api/")
    visit.head("/moto-api/")
    visit("POST", "/moto-api/reset")
