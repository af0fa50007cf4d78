//! Pages: the camera's, and errors for those who came by a link or a plain form.

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_LANGUAGE, VARY};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use serde::Serialize;
use tera::Context;

use super::error::ApiError;
use super::job_views::offered;
use crate::application::State;
use crate::dispatch::chain;
use crate::guard::Visitor;

/// `GET /`; with `?kiosk=1` for open days.
pub(super) async fn index(request: HttpRequest, state: Data<State>, visitor: Visitor) -> HttpResponse {
    let mut context = Context::new();
    context.insert("models", &offered(state.catalog.models()));
    context.insert("default_model", &state.catalog.default_model().map(|model| model.name).unwrap_or_default());
    context.insert("version", env!("CARGO_PKG_VERSION"));
    context.insert("jobs_link", &state.operator.is_operator(&request));
    context.insert("prompts", &state.settings.page.prompts);
    context.insert("kiosk", &request.query_string().split('&').any(|parameter| parameter == "kiosk=1"));
    with_cookie(render(&state, &request, "index.html", context), &visitor)
}

/// Makes a new visitor known again.
pub(super) fn with_cookie(mut response: HttpResponse, visitor: &Visitor) -> HttpResponse {
    if let Some(cookie) = visitor.cookie()
        && let Err(error) = response.add_cookie(&cookie)
    {
        tracing::error!(%error, "the visitor's cookie cannot be set");
    }
    response
}

/// Everything that is nowhere.
pub(super) async fn not_found(request: HttpRequest, state: Data<State>) -> HttpResponse {
    for_people(&request, &state, ApiError::not_found("there is nothing here"))
}

/// Renders a template in the browser's language: `lang`, with the sentences in `t`.
pub(super) fn render(state: &State, request: &HttpRequest, template: &str, mut context: Context) -> HttpResponse {
    let language = speak(state, request, &mut context);
    match state.assets.templates.render(template, &context) {
        Ok(page) => HttpResponse::Ok()
            .insert_header((CACHE_CONTROL, "no-store"))
            .insert_header((CONTENT_LANGUAGE, language))
            .insert_header((VARY, "Accept-Language"))
            .content_type("text/html; charset=utf-8")
            .body(page),
        Err(error) => {
            tracing::error!(template, error = chain(&error), "the template cannot be rendered");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be rendered").error_response()
        }
    }
}

/// Gives a template the browser's language, and tells which one that is.
fn speak(state: &State, request: &HttpRequest, context: &mut Context) -> String {
    let accepted = request.headers().get(ACCEPT_LANGUAGE).and_then(|accepted| accepted.to_str().ok());
    let (language, sentences) = state.assets.languages.choose(accepted.unwrap_or_default());
    context.insert("lang", language);
    context.insert("t", sentences);
    language.to_owned()
}

/// An error as a page for a browser that navigates, as JSON for everybody else.
pub(super) fn for_people(request: &HttpRequest, state: &State, error: ApiError) -> HttpResponse {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let json = error.error_response();
    if !accept.contains("text/html") {
        return json;
    }
    #[derive(Serialize)]
    struct Page<'a> {
        status: u16,
        title: &'a str,
        message: String,
    }
    let status = error.status_code();
    let message = error.to_string();
    let page = Page { status: status.as_u16(), title: status.canonical_reason().unwrap_or("Error"), message };
    let rendered = Context::from_serialize(page).and_then(|mut context| {
        speak(state, request, &mut context);
        state.assets.templates.render("error.html", &context)
    });
    match rendered {
        Ok(page) => {
            let mut response = HttpResponse::build(status);
            // Retry-After and the job's id stand in the headers either way.
            for (name, value) in json.headers().iter().filter(|(name, _)| *name != "content-type") {
                response.insert_header((name.clone(), value.clone()));
            }
            response.content_type("text/html; charset=utf-8").body(page)
        }
        Err(error) => {
            tracing::error!(error = chain(&error), "the error page cannot be rendered");
            json
        }
    }
}
