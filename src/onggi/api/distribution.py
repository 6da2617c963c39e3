"""`/distribution` and `/auth`: what registries say of images and of credentials."""

from ..errors import InvalidInput
from ..spec.reference import parse_reference
from . import imagejson, registryauth
from .call import Answer, Call, json_answer
from .route import Route

HUB = "https://index.docker.io/v1/"


def describe(call: Call) -> Answer:
    name = call.params["name"]
    parse_reference(name)
    images = call.engine.images.with_secrets(registryauth.of_image(call, name))
    found = images.describe(name)
    descriptor = {
        "mediaType": found.media_type,
        "digest": str(found.digest),
        "size": found.size_bytes,
    }
    platforms = [imagejson.platform(platform) for platform in found.platforms]
    return json_answer({"Descriptor": descriptor, "Platforms": platforms})


def authenticate(call: Call) -> Answer:
    fields = call.json()
    secret = registryauth.secret_of(fields)
    if secret is None:
        raise InvalidInput("no credentials: username and password are missing")
    server = fields.text("serveraddress") or HUB
    proved = call.engine.images.with_secrets({}).authenticate(server, secret)
    return json_answer({"Status": "Login Succeeded", "IdentityToken": proved.identity_token})


ROUTES = (
    Route("GET", "/distribution/{name*}/json", describe, since=(1, 30)),
    Route("POST", "/auth", authenticate),
)
