"""The one text of options that older kernels take for an overlay."""

from onggi.linux import staging


def test_a_label_with_commas_is_one_option() -> None:
    assert staging._word("context", "u:r:t:s0:c1,c2") == 'context="u:r:t:s0:c1,c2"'
    assert staging._word("upperdir", "upperdir") == "upperdir=upperdir"
    assert staging._word("userxattr", None) == "userxattr"
