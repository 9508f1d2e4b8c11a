//! Chunked bodies that two readers may see differently: sizes, extensions, line ends, trailers ("funky chunks", 2025).

use crate::world::{HOST, SMUGGLED, World};

fn chunked(body: &str) -> Vec<u8> {
    format!("POST /attack HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n{body}").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_that_two_readers_may_see_differently_is_refused() {
    let world = World::start().await;
    for size in [
        "-1",
        "+5",
        "-5",
        "0x5",
        "0X5",
        "5_0",
        "05h",
        "5h",
        "g",
        "",
        " ",
        "5.",
        "5,5",
        "5 5",
        " 5",
        "\t5",
        "5 ",
        "5\t",
        "5 ;x",
        "5\t;x",
        "\u{b}5",
        "5\u{b}",
        "5\0",
        "\u{0}5",
        "5\r",
        "5\n",
        "\n5",
        "5\r\r",
        "ffffffffffffffff",
        "fffffffffffffffff",
        "8000000000000000",
        "7fffffffffffffff",
        "10000000000000005",
        "00000000000000000005",
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000005",
        "\"5\"",
        "5\"",
        "{5}",
        "%35",
        "\u{ff15}",
        "0x",
        "x5",
        "5l",
        "5L",
        "5u",
        "5/2",
        "5:5",
        "5=5",
        "=5",
        ";",
        ";5",
        ";x=5",
    ] {
        let body = format!("{size}\r\nhello\r\n0\r\n\r\n");
        world.refuses(&format!("size {size:?}"), &chunked(&body)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_that_hides_a_line_end_is_refused() {
    let world = World::start().await;
    for extension in [
        ";\n",
        ";a\n",
        ";a=b\n",
        ";a\nb",
        ";a\rb",
        ";a\r",
        ";\r",
        ";a=\"\n\"",
        ";a=\"\r\"",
        ";a=\"\0\"",
        ";\0",
        ";\u{1}",
        ";\u{7f}",
        ";a=\"\r\n\"",
        ";\r\n\r\n",
        ";\n\n",
        ";\n0\n\n",
        ";a=b;c\nd",
    ] {
        // What stands behind the hidden line end is a chunk to one reader and an extension to the other.
        let body = format!("5{extension}\r\nhello\r\n0\r\n\r\n{SMUGGLED}");
        world.refuses(&format!("extension {extension:?}"), &chunked(&body)).await;
        let body = format!("0{extension}\r\n\r\n{SMUGGLED}");
        if !matches!(extension, ";\r\n\r\n") {
            world.refuses(&format!("last extension {extension:?}"), &chunked(&body)).await;
        }
    }
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(70_000));
    world.refuses("an endless extension", &chunked(&long)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_does_not_end_where_it_says_is_refused() {
    let world = World::start().await;
    for body in [
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhell\r\n0\r\n\r\n",
        "5\r\nhello \r\n0\r\n\r\n",
        "5\r\nhello\n\r\n0\r\n\r\n",
        "5\r\nhello\r\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "5\r\n\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n\r\n0\r\n\r\n",
        "0\n\r\n",
        "0\r\n\n",
        "0\n\n",
        "0\r\r",
        "0\r\n\r",
        "0\r\nX\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\n X: y\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX: y\r\n z\r\n\r\n",
        "0\r\nX: y\rz\r\n\r\n",
        "0\r\nX: \0\r\n\r\n",
        "0\r\n: y\r\n\r\n",
        "0\r\nGET /smuggled HTTP/1.1\r\nHost: app.example\r\n\r\n",
        "0\r\n0\r\n\r\n",
        "0\r\n\r \n",
        "5\r\nhello\r\n0",
        "5\r\nhello\r\n",
    ] {
        let attack = format!("{body:?}");
        let bytes = chunked(body);
        world.refuses(&attack, &bytes).await;
    }
    let many: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    world.refuses("endless trailers", &chunked(&format!("0\r\n{many}\r\n"))).await;
    let large = format!("0\r\nX: {}\r\n\r\n", "y".repeat(100_000));
    world.refuses("a large trailer", &chunked(&large)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_legal_passes_without_what_the_origin_need_not_see() {
    let world = World::start().await;
    for (body, data) in [
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("5;a\r\nhello\r\n0;b\r\n\r\n", "hello"),
        ("5;a=b;c=\"d;e\"\r\nhello\r\n0\r\n\r\n", "hello"),
        ("00005\r\nhello\r\n000\r\n\r\n", "hello"),
        ("A\r\nhellohello\r\n0\r\n\r\n", "hellohello"),
        ("5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
        ("0\r\nTransfer-Encoding: chunked\r\n\r\n", ""),
        ("0\r\nContent-Length: 60\r\nHost: evil\r\nAuthorization: x\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n", ""),
        ("0\r\nX-Sum: 1\r\n\r\n", ""),
    ] {
        let request = world.passes(body, &chunked(body)).await;
        assert_eq!(request.body, data.as_bytes(), "{body:?}");
    }
    let inner = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    assert_eq!(world.passes("a request as data", &chunked(&inner)).await.body, SMUGGLED.as_bytes());
}
