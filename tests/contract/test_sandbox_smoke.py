"""The unpatched python-gitlab meets the stand-in."""

import gitlab


def test_python_gitlab_sees_the_seeded_project(forge):
    """The unpatched client reads the project by its path."""
    client = gitlab.Gitlab(
        forge.url, private_token=forge.token("lockgate-bot"), ssl_verify=forge.ca_file
    )
    client.auth()
    assert client.user.username == "lockgate-bot"
    assert client.projects.get(forge.project_path).http_url_to_repo == forge.clone_url
