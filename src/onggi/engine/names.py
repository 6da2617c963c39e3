"""Generated names: adjective_surname, as docker's look. Our own lists."""

import os

ADJECTIVES = """
able agile amber ample ardent azure balmy blithe bold brave breezy bright brisk bubbly busy calm
candid cheery chief clever cosmic cozy crisp curious daring deft dreamy eager earnest easy elated
epic fair fervent fluent fond frank fresh gallant gentle gifted glad golden grand happy hardy hearty
honest humble ideal jolly jovial keen kind lively loyal lucid lucky mellow merry mighty modest neat
nimble noble patient playful plucky polite proud quick quiet radiant rapid ready regal serene sharp
silent sincere smart snowy solid spry steady stoic sturdy sunny swift tender tidy upbeat valiant
vivid warm wise witty zealous zen zesty
"""
SURNAMES = """
abel agnesi allen archimedes babbage bardeen bell bohr boole bose brahe cannon cantor carson cerf
chang church clarke cori cray curie dahl darwin dijkstra dirac easley edison einstein elion erdos
euler faraday fermat fermi feynman franklin galileo galois gauss germain gould hamilton hawking
heisenberg hertz hodgkin hopper hubble hypatia jang jackson johnson joliot kalam kare keller kepler
khorana kilby kirch knuth lamarr lamport leavitt liskov lovelace maxwell mayer mccarthy mcclintock
meitner mendel mirzakhani moore napier nash newton nobel noether noyce pascal pasteur payne perlman
planck poincare ptolemy raman ride ritchie rubin sammet sejong shannon stallman swartz tesla
thompson torvalds turing varahamihira villani volhard wescoff wilson wing woo wozniak wright wu
yalow yonath
"""


def generate(attempt: int = 0) -> str:
    """A random name; from the third attempt on with a number, so that it ends in a full store."""
    adjectives, surnames = ADJECTIVES.split(), SURNAMES.split()
    noise = int.from_bytes(os.urandom(4), "big")
    suffix = str(noise >> 24) if attempt >= 2 else ""
    adjective = adjectives[noise % len(adjectives)]
    return f"{adjective}_{surnames[(noise >> 8) % len(surnames)]}{suffix}"
