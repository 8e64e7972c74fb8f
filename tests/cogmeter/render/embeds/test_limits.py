"""Whatever goes in, what comes out is an embed that Discord accepts."""

import re

import discord
from hypothesis import example, given
from hypothesis import strategies as st

from cogmeter.render.embeds import limits
from cogmeter.render.embeds.statistics import fit

LINK = re.compile(r"https?://\S+|attachment://[A-Za-z0-9_][A-Za-z0-9_.-]*")


def long(limit):
    """Texts around a limit, of any characters, blank ones and lone surrogates among them."""
    alphabet = st.characters() | st.sampled_from(" \n\u200b`\ud800")
    return st.text(alphabet, max_size=40) | st.builds(
        lambda piece, times: piece * times, st.text(alphabet, min_size=1, max_size=3), st.integers(0, 2 * limit)
    )


addresses = (
    st.none()
    | st.text(max_size=20)
    | st.sampled_from(
        [
            "https://cdn.example/a.png",
            "attachment://chart.png",
            "attachment://../etc passwd",
            "javascript:1",
            "https://",
        ]
    )
)
embeds = st.fixed_dictionaries(
    {
        "title": long(256),
        "description": long(4096),
        "color": st.integers(-5, 2**40),
        "url": addresses,
        "image": addresses,
        "thumbnail": addresses,
        "footer": long(2048),
        "author": long(256),
        "fields": st.lists(st.tuples(long(256), long(1024)), max_size=40),
    }
)


def built(parts):
    embed = discord.Embed(title=parts["title"], description=parts["description"], url=parts["url"])
    embed.colour = discord.Colour(parts["color"])
    embed.set_footer(text=parts["footer"], icon_url=parts["image"])
    embed.set_author(name=parts["author"], url=parts["url"], icon_url=parts["thumbnail"])
    embed.set_image(url=parts["image"])
    embed.set_thumbnail(url=parts["thumbnail"])
    for name, value in parts["fields"]:
        # Not by add_field(), which would not matter, but a host may hand us an embed with more than 25.
        embed.add_field(name=name, value=value)
    return embed


FULL = {
    "title": "t" * 300, "description": "d" * 5000, "color": 0, "url": None, "image": None, "thumbnail": None,
    "footer": "f" * 3000, "author": "a" * 300, "fields": [("n" * 300, "v" * 2000)] * 30,
}  # fmt: skip


def within(words, limit):
    words.encode()
    return bool(words.strip()) and len(words) <= limit


@given(embeds)
@example(FULL)
@example({**FULL, "description": "d"})
@example({**FULL, "fields": [], "description": "", "title": "", "footer": "", "author": ""})
def test_every_limit_is_kept(parts):
    embed = fit(built(parts))
    assert len(embed) <= 6000
    assert len(embed.fields) <= 25
    for field in embed.fields:
        assert within(field.name, 256)
        assert within(field.value, 1024)
    held = ((embed.title, 256), (embed.description, 4096), (embed.footer.text, 2048), (embed.author.name, 256))
    assert all(words is None or within(words, limit) for words, limit in held)
    assert embed.colour is None or 0 <= embed.colour.value <= 0xFFFFFF
    links = (embed.image.url, embed.thumbnail.url, embed.footer.icon_url, embed.author.icon_url)
    assert all(link is None or LINK.fullmatch(link) for link in links)
    assert all(link is None or link.startswith("http") for link in (embed.url, embed.author.url))
    assert set(embed.to_dict()) - {"type", "color", "flags"}, "an embed without content is refused"


@given(embeds)
def test_fitting_again_changes_nothing(parts):
    once = fit(built(parts))
    assert fit(once).to_dict() == once.to_dict()


def test_an_embed_within_the_limits_is_left_as_it_is():
    embed = discord.Embed(title="Performance Summary", description="**Healthy**", colour=0x4CB387)
    embed.add_field(name="Success Rate", value="97.2%", inline=False).set_footer(text="Last 24 hours")
    embed.set_image(url="attachment://chart.png")
    assert fit(embed).to_dict() == embed.to_dict()


def test_a_code_block_that_is_cut_is_closed_again():
    shown = limits.shorten("```python\n" + "x = 1\n" * 400 + "```", 1024)
    assert len(shown) <= 1024
    assert shown.endswith("…\n```")


def test_the_last_fields_go_first_when_all_together_is_too_long():
    embed = discord.Embed(description="d" * 1000)
    for number in range(8):
        embed.add_field(name=f"field {number}", value="v" * 1000)
    fitted = fit(embed)
    assert [field.name for field in fitted.fields] == [f"field {number}" for number in range(5)]
    assert fitted.description == embed.description
