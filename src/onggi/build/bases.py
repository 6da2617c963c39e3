"""The images that a build starts from: fetched when they are missing or --pull says so; and which
stages are needed, since an image's ONBUILD lines may need more of both.
"""

from ..dockerfile.instructions import Dockerfile, Instruction, trigger
from ..dockerfile.problem import placed
from ..engine.engine import Engine
from ..errors import NotFound, OnggiError
from ..progress import Report
from ..spec.image import Image, ImageConfig
from ..spec.platform import host_platform
from .graph_select import Arguments, ImageWanted, Selection, select, stage_triggers

OCI_LAYOUT = "oci-layout://"


class Bases:
    """Base images, by what the file calls them; fetched when they are missing or --pull says so."""

    def __init__(self, engine: Engine, report: Report, *, pull: bool) -> None:
        self.engine = engine
        self.pull = pull
        self.report = report
        self.configs: dict[ImageWanted, ImageConfig] = {}
        self.images: dict[ImageWanted, Image] = {}
        self.pinned = False  # layers of this process that no image of the store has

    def fetch(self, wanted: ImageWanted) -> ImageConfig:
        known = self.configs.get(wanted)
        if known is None:
            known = self.configs[wanted] = self._fetch(wanted)
        return known

    def _fetch(self, wanted: ImageWanted) -> ImageConfig:
        try:
            image = self._image(wanted)
        except OnggiError as error:
            raise placed(error, wanted.at.line, wanted.at.text) from error
        self.images[wanted] = image
        return image.config

    def _image(self, wanted: ImageWanted) -> Image:
        """For another platform than ours the name stays with the image that has it."""
        images = self.engine.images
        if wanted.reference.startswith(OCI_LAYOUT):
            from .ocilayout import image_of

            self.pinned = True
            return image_of(self.engine, wanted.reference[len(OCI_LAYOUT) :], wanted.platform)
        try:
            if not self.pull:
                image = images.get(wanted.reference)
                if image.config.platform.matches(wanted.platform):
                    return image
        except NotFound:
            pass
        return images.pull(
            wanted.reference,
            platform=str(wanted.platform),
            report=self.report,
            tagged=wanted.platform.matches(host_platform()),
        )


Triggers = dict[int, tuple[Instruction, ...]]


def chosen_stages(
    file: Dockerfile, arguments: Arguments, bases: Bases
) -> tuple[Selection, Triggers]:
    """The stages and images that are needed. An image's ONBUILD lines may need more of both, so
    look again until nothing is new."""
    triggers: Triggers = {}
    while True:
        selection = select(file, arguments, triggers)
        for wanted in selection.images:
            bases.fetch(wanted)
        found = {index: _triggers(file, selection, bases, index) for index in selection.needed}
        found = {index: lines for index, lines in found.items() if lines}
        if found == triggers:
            return selection, triggers
        triggers = found


def _triggers(
    file: Dockerfile, selection: Selection, bases: Bases, index: int
) -> tuple[Instruction, ...]:
    base, line = selection.bases[index], file.stages[index].base.at.line
    if base.stage is not None:
        texts = stage_triggers(file.stages[base.stage])
    elif base.image is not None:
        texts = bases.fetch(base.image).on_build
    else:
        texts = ()
    return tuple(trigger(text, line) for text in texts)
